"""Rows of an API, in every usual way of giving them: each once, whatever comes late, is wrong or is killed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers import shop as shops
from tests.servers.shop import Shop, says
from tests.tradewind_runtime.steprun import end_of, ingest, ingest_request, rows, start, wait_for
from tests.tradewind_runtime.tables import new_lake

from tradewind_runtime.connections import connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.sources import Access, http

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
TABLE = "demo/flights_raw"
ITEMS = {"rows": "data.items"}
SIZED = {"size": 10, "size_parameter": "limit"}
#: How each path of the shop is read.
WAYS: dict[str, dict[str, Any]] = {
    "whole": {},
    "inside": ITEMS,
    "number": {"page": {"by": "number", **SIZED}},
    "more": ITEMS | {"page": {"by": "number", "parameter": "p", "first": 0, "next": "has_more", **SIZED}},
    "offset": {"page": {"by": "offset", **SIZED}},
    "cursor": ITEMS | {"page": {"by": "cursor", "parameter": "page_token", "next": "meta.next", **SIZED}},
    "link": {"page": {"by": "link", **SIZED}},
    "next": ITEMS | {"page": {"by": "link", "next": "links.next", **SIZED}},
    "lines": {"format": "jsonl", "page": {"by": "link", **SIZED}},
}
RUNS = itertools.count()


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with shops.opened() as found:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", found.connection())
        yield found


def source(way: str, columns: dict[str, str] | None = None, max_bad: float = 0, **more: Any) -> Source:
    asked = {"connection": "shop", "path": f"/{way}"} | WAYS.get(way, {}) | more
    return Source.model_validate({"http": asked, "columns": columns, "max_bad": max_bad})


def taken_in(lake: str, of: Source, until: datetime | None = None) -> list[dict[str, Any]]:
    """The table's rows after a run, by their ids."""
    end = end_of(lake, of) if until is None else {"until": int(until.timestamp() * 1_000_000)}
    ingest(lake, of, end, connection="shop", run=f"r{next(RUNS)}")
    return sorted(rows(lake), key=lambda row: row["id"])


def ids(found: list[dict[str, Any]]) -> list[Any]:
    return [row["id"] for row in found]


def order(id: int, minutes: float = 0, **more: Any) -> dict[str, Any]:
    return {"id": id, "at": (NOON + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")} | more


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 1, 20, 25])
def test_every_way_of_paging_gives_each_row_once(shop: Shop, lake_uri: str, way: str, count: int) -> None:
    shop.rows = [order(n) for n in range(count)]
    found = taken_in(lake_uri, source(way, {"id": "long"}, params={"status": "done", "open": True}))
    assert ids(found) == list(range(count))
    assert [row["_position"] for row in found] == list(range(count))
    assert all(query["status"] == "done" and query["open"] == "true" for query in shop.queries())


def test_columns_are_those_of_the_first_rows(shop: Shop, lake_uri: str) -> None:
    shop.rows = [
        {"id": 1, "price": 1.5, "name": "café", "ok": True, "tags": ["a"], "who": {"id": 3}},
        {"id": 2, "price": 2, "name": None, "ok": None},
    ]
    first, second = taken_in(lake_uri, source("whole"))
    told = {key: value for key, value in first.items() if not key.startswith("_")}
    assert told == {"id": 1, "price": 1.5, "name": "café", "ok": True, "tags": '["a"]', "who": '{"id": 3}'}
    assert (second["price"], second["name"], second["ok"]) == (2.0, None, None)


def test_csv_by_its_header(shop: Shop, lake_uri: str) -> None:
    shop.rows = ['1,"a ""b""\n,c",2013-01-01', "2,NA,2013-01-02", "3,d", "x,e,", "5,,"]
    page = {"by": "link", "size": 2, "size_parameter": "limit"}
    of = source("csv", {"at": "date", "id": "long", "name": "string"}, 9, format="csv", page=page)
    found = taken_in(lake_uri, of)
    assert [(row["id"], row["name"], row["at"]) for row in found] == [
        (1, 'a "b"\n,c', date(2013, 1, 1)), (2, None, date(2013, 1, 2)), (5, None, None),
    ]  # fmt: skip
    refused = {row["position"]: (row["reason"], row["content"]) for row in rows(lake_uri, "flights_quarantine")}
    assert refused == {
        2: ("not a line of 3 values: it has 2", b"3,d"),
        3: ("column id: 'x' is not of type long", b"x,e,"),
    }


def test_without_a_cursor_each_run_has_all_rows_in_place_of_those_before(shop: Shop, lake_uri: str) -> None:
    shop.rows = [order(1), order(2)]
    assert ids(taken_in(lake_uri, source("number"))) == [1, 2]
    shop.rows = [order(2), order(3)]
    found = taken_in(lake_uri, source("number"))
    assert ids(found) == [2, 3]
    assert {row["_source"][:8] for row in found} == {"/number@"}


@pytest.mark.parametrize("since", [{}, {"since": "updated_after"}], ids=["all", "since"])
@pytest.mark.parametrize("columns", [None, {"id": "long", "at": "timestamp"}], ids=["inferred", "named"])
def test_by_a_cursor_each_run_has_what_is_new(
    shop: Shop, lake_uri: str, since: dict[str, str], columns: dict[str, str] | None
) -> None:
    of = source("cursor", columns, cursor="at", **since)
    shop.rows = [order(n, n) for n in range(15)]
    assert len(taken_in(lake_uri, of)) == 15
    shop.queries()
    shop.rows += [order(n, n) for n in range(15, 18)]
    assert ids(taken_in(lake_uri, of)) == list(range(18))
    assert {query.get("updated_after") for query in shop.queries()} == {"2013-01-01T12:14:00Z" if since else None}
    version = Lake(lake_uri).table(TABLE).version()
    assert len(taken_in(lake_uri, of)) == 18
    assert Lake(lake_uri).table(TABLE).version() == (version or 0) + 1, "the moment has moved, and no row"
    assert Lake(lake_uri).table(TABLE).position("http:at") == int((NOON + timedelta(minutes=17)).timestamp() * 1e6)


def test_what_was_read_up_to_a_moment_is_not_read_again(shop: Shop, lake_uri: str) -> None:
    of = source("link", cursor="at")
    shop.rows = [order(1)]
    taken_in(lake_uri, of, until=NOON + timedelta(hours=1))
    shop.queries()
    shop.rows.append(order(2, 1))
    for hours in (1, 0.5):
        assert ids(taken_in(lake_uri, of, until=NOON + timedelta(hours=hours))) == [1]
    assert shop.queries() == [], "the API was not even asked"


def test_rows_of_after_the_moment_are_left_to_the_next_run(shop: Shop, lake_uri: str) -> None:
    of = source("whole", cursor="at")
    shop.rows = [order(1, -1), order(2, 0), order(3, 1)]
    assert ids(taken_in(lake_uri, of, until=NOON)) == [1, 2]
    assert ids(taken_in(lake_uri, of, until=NOON + timedelta(minutes=2))) == [1, 2, 3]


def test_no_row_is_passed_over_where_the_clock_of_the_api_is_behind(shop: Shop, lake_uri: str) -> None:
    """What is written after a run has a time of before its moment."""
    of = source("whole", cursor="at", since="updated_after")
    shop.rows = [order(1, -30)]
    assert ids(taken_in(lake_uri, of, until=NOON)) == [1]
    shop.rows.append(order(2, -10))
    assert ids(taken_in(lake_uri, of, until=NOON + timedelta(minutes=5))) == [1, 2]


def test_a_cursor_of_numbers_has_no_bound_but_the_highest(shop: Shop, lake_uri: str) -> None:
    of = source("link", cursor="id", since="since_id", overlap=2)
    shop.rows = [order(n) for n in (3, 1, 7)]
    assert ids(taken_in(lake_uri, of)) == [1, 3, 7]
    assert Lake(lake_uri).table(TABLE).position("http:id") == 7
    shop.rows += [order(n) for n in (6, 8, 4)]
    shop.queries()
    assert ids(taken_in(lake_uri, of)) == [1, 3, 6, 7, 8], "4 is beyond the overlap"
    assert shop.queries()[0]["since_id"] == "5"


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("iso", "2013-01-01T12:08:30Z"),
        ("date", "2012-12-31"),
        ("seconds", "1357042110"),
        ("milliseconds", "1357042110500"),
    ],
)
def test_the_last_end_is_written_as_the_api_wants_it_and_never_too_late(
    shop: Shop, lake_uri: str, written: str, word: str
) -> None:
    of = source("whole", cursor="at", since="after", since_as=written, overlap="90s")
    shop.rows = [{"id": 1, "at": "2013-01-01T12:10:00.5Z"}]
    taken_in(lake_uri, of)
    taken_in(lake_uri, of)
    assert shop.queries() == [{}, {"after": word}]


@pytest.mark.parametrize("kind", ["timestamp", "date"])
def test_what_comes_late_is_caught_by_the_overlap(shop: Shop, lake_uri: str, kind: str) -> None:
    days = kind == "date"
    overlap = "2d" if days else "2m"
    of = source("whole", {"id": "long", "at": kind}, cursor="at", since="updated_after", overlap=overlap)

    def row(id: int, steps: int) -> dict[str, Any]:
        return {"id": id, "at": (date(2013, 1, 1) + timedelta(steps)).isoformat()} if days else order(id, steps)

    shop.rows = [row(1, 0), row(2, 5), row(3, 10)]
    taken_in(lake_uri, of)
    shop.rows = [row(1, 0), row(2, 5), row(30, 10), row(4, 9), row(5, 3), row(6, 11)]
    assert ids(taken_in(lake_uri, of)) == [1, 2, 4, 6, 30]


def test_a_day_goes_on_after_a_run_has_read_it(shop: Shop, lake_uri: str) -> None:
    of = source("whole", {"id": "long", "at": "date"}, cursor="at", since="updated_after")
    shop.rows = [{"id": 1, "at": "2013-01-01"}, {"id": 2, "at": "2013-01-02"}]
    taken_in(lake_uri, of)
    shop.rows += [{"id": 3, "at": "2013-01-02"}, {"id": 4, "at": "2013-01-01"}]
    assert ids(taken_in(lake_uri, of)) == [1, 2, 3], "4 is of a day before the last"
    shop.rows += [{"id": 5, "at": "2013-01-02"}, {"id": 6, "at": "2013-01-03"}]
    assert ids(taken_in(lake_uri, of)) == [1, 2, 3, 5, 6]


def test_another_cursor_begins_anew(shop: Shop, lake_uri: str) -> None:
    shop.rows = [order(1, 1), order(2, 2)]
    for more in ({"cursor": "at"}, {}, {"cursor": "at"}, {"cursor": "id"}, {"cursor": "at"}):
        assert ids(taken_in(lake_uri, source("whole", **more))) == [1, 2]


def test_another_path_begins_anew(shop: Shop, lake_uri: str) -> None:
    """Its values may be lower than the highest of the one before."""
    shop.rows = [order(1, 1), order(2, 2)]
    assert ids(taken_in(lake_uri, source("whole", cursor="at"))) == [1, 2]
    shop.rows = [order(3, 1)]
    assert ids(taken_in(lake_uri, source("whole", cursor="at"))) == [1, 2]
    rows, shop.rows = shop.rows, []
    assert ids(taken_in(lake_uri, source("link", cursor="at"))) == [], "nothing is there yet"
    assert ids(taken_in(lake_uri, source("link", cursor="at"))) == []
    shop.rows = rows
    assert ids(taken_in(lake_uri, source("link", cursor="at"))) == [3]
    shop.rows.append(order(4, 2))
    assert ids(taken_in(lake_uri, source("link", cursor="at"))) == [3, 4]


def test_a_cursor_without_a_row_yet(shop: Shop, lake_uri: str) -> None:
    of = source("whole", cursor="at")
    with pytest.raises(StepError, match="TW522"):
        taken_in(lake_uri, of)
    shop.rows = [order(1)]
    assert ids(taken_in(lake_uri, of)) == [1]


def test_named_columns_without_a_row_yet(shop: Shop, lake_uri: str) -> None:
    of = source("whole", {"id": "long", "at": "timestamp"}, cursor="at")
    assert taken_in(lake_uri, of) == []
    shop.rows = [order(1)]
    assert ids(taken_in(lake_uri, of)) == [1]


@pytest.mark.parametrize("at", [1.5, "noon", True, {"a": 1}])
def test_a_cursor_that_is_none_is_told(shop: Shop, lake_uri: str, at: Any) -> None:
    shop.rows = [{"id": 1, "at": at}]
    with pytest.raises(StepError, match=r"TW5(27|23)"):
        taken_in(lake_uri, source("whole", cursor="at"))


def test_what_is_no_row_goes_to_quarantine_by_its_number(shop: Shop, lake_uri: str) -> None:
    shop.rows = [order(0), 17, {"id": "x"}, [1], None, order(5), {"id": 6, "at": None}, {"id": 7, "at": "later"}]
    of = source("number", {"id": "long", "at": "timestamp"}, 9, cursor="at", page={"by": "number", **SIZED, "size": 3})
    shop.rows += [order(n) for n in range(8, 12)]
    assert ids(taken_in(lake_uri, of)) == [0, 5, 8, 9, 10, 11]
    refused = sorted(rows(lake_uri, "flights_quarantine"), key=lambda row: row["position"])
    (place,) = {row["source"] for row in refused}
    assert place == rows(lake_uri)[0]["_source"]
    assert [(row["position"], row["content"]) for row in refused] == [
        (1, b"17"), (2, b'{"id": "x"}'), (3, b"[1]"), (4, b"null"), (6, b'{"id": 6, "at": null}'),
        (7, b'{"id": 7, "at": "later"}'),
    ]  # fmt: skip
    assert refused[4]["reason"] == "the cursor at has no value"
    assert "where an object is expected" in refused[0]["reason"]


def test_columns_that_a_page_gains(shop: Shop, lake_uri: str) -> None:
    of = Source.model_validate({"http": {"connection": "shop", "path": "/whole"}, "new_columns": "strict"})
    shop.rows = [{"id": 1}]
    taken_in(lake_uri, of)
    shop.rows = [{"id": 1}, {"id": 2, "gate": "A"}]
    with pytest.raises(StepError, match=r"TW529(.|\n)*gate(.|\n)*/whole@.* at 1"):
        taken_in(lake_uri, of)
    assert ids(taken_in(lake_uri, of.model_copy(update={"new_columns": "add"}))) == [1, 2]
    assert [row["gate"] for row in rows(lake_uri)] == [None, "A"]


def test_nothing_is_taken_in_where_a_page_fails(shop: Shop, lake_uri: str) -> None:
    of = source("number")
    shop.rows = [order(n) for n in range(25)]
    assert len(taken_in(lake_uri, of)) == 25
    shop.rows = [order(n) for n in range(35)]
    shop.script.extend([lambda handler: handler.give(shop.rows[:10]), says("no", 400)])
    with pytest.raises(StepError, match=r"TW525(.|\n)*answers 400: no"):
        taken_in(lake_uri, of)
    assert len(rows(lake_uri)) == 25
    assert len(taken_in(lake_uri, of)) == 35


def test_kill_9_amid_the_pages_and_a_retry_give_each_row_once(shop: Shop, lake_uri: str) -> None:
    shop.rows = [order(n, n) for n in range(300)]
    shop.rows[123] = {"id": "broken", "at": "2013-01-01T12:00:00Z"}
    shop.pause = 0.05
    of = source("link", {"id": "long", "at": "timestamp"}, 1, cursor="at", since="after")
    request = ingest_request(lake_uri, of, end_of(lake_uri, of), connection="shop", chunk=40)
    for kill in (2, 11, 26, 30, None):
        shop.queries()
        process = start(request, "kill")
        if kill is not None:
            wait_for(lambda wanted=kill: len(shop.asked) >= wanted)
            process.kill()
            process.wait()
            continue
        assert process.wait(100) == 0, process.stderr.read().decode()
    assert ids(sorted(rows(lake_uri), key=lambda row: row["id"])) == [n for n in range(300) if n != 123]
    assert [row["position"] for row in rows(lake_uri, "flights_quarantine")] == [123]


def test_a_kill_between_quarantine_and_rows_loses_and_doubles_nothing(
    shop: Shop, lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = source("whole", {"id": "long", "at": "timestamp"}, 3, cursor="at")
    commit = Table.commit

    def dies(self: Table, files: Any, **more: Any) -> int:
        if self.name == TABLE:
            raise KeyboardInterrupt
        return commit(self, files, **more)

    def killed(until: datetime) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Table, "commit", dies)
            with pytest.raises(KeyboardInterrupt):
                taken_in(lake_uri, of, until)

    def refused() -> list[Any]:
        return sorted(row["content"] for row in rows(lake_uri, "flights_quarantine"))

    shop.rows = [order(1), "x"]
    killed(NOON)
    assert (refused(), rows(lake_uri)) == ([b'"x"'], [])
    assert ids(taken_in(lake_uri, of, until=NOON)) == [1], "the same step again"
    assert refused() == [b'"x"']
    shop.rows = [order(1), "y"]
    killed(NOON + timedelta(hours=1))
    shop.rows = [order(1), "z", order(2, 1)]
    assert ids(taken_in(lake_uri, of)) == [1, 2], "a later run in its place"
    assert refused() == [b'"x"', b'"y"', b'"z"']


def test_two_at_once_do_not_double_a_row(shop: Shop, lake_uri: str) -> None:
    shop.rows = [order(n, n) for n in range(60)]
    shop.pause = 0.05
    of = source("link", {"id": "long", "at": "timestamp"}, cursor="at")
    requests = [ingest_request(lake_uri, of, end_of(lake_uri, of), connection="shop", run=f"r{n}") for n in range(2)]
    running = [start(request, request.run_id) for request in requests]
    for process in running:
        assert process.wait(100) == 0, process.stderr.read().decode()
    assert sorted(ids(rows(lake_uri))) == list(range(60))


def test_a_page_is_asked_for_when_those_before_are_decoded(shop: Shop) -> None:
    shop.rows = [order(n) for n in range(100)]
    of, lake = source("link"), new_lake()
    access = Access(lake, connection("shop"), chunk_rows=20)
    reading = http.read(of, access, end_of(lake.root, of), lake.table(TABLE))
    chunk = next(reading)
    asked = [len(shop.asked), *(len(shop.asked) for _ in chunk.rows)]
    assert asked == [2, 2, 4, 6, 8, 10], "memory holds two pages, however many there are"
    assert next(reading, None) is None


def test_no_more_than_so_many_requests_in_a_second(shop: Shop, lake_uri: str) -> None:
    shop.rows = [order(n) for n in range(50)]
    shop.script.append(says("slowly", 429, Retry_After="0"))
    began = time.monotonic()
    taken_in(lake_uri, source("link", rate="5/s"))
    after = [one.at - began for one in shop.asked]
    assert len(after) == 6
    assert all(late >= n / 5 for n, late in enumerate(after)), "two may arrive together where the first was held up"


@settings(max_examples=10)
@given(st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=4))
def test_each_row_is_there_once_whatever_comes_late(runs: list[list[int]]) -> None:
    """With an overlap as large as whatever comes late; rows may have the same cursor, and pages come in any order."""
    numbers, lake = itertools.count(), new_lake().root
    of = source("cursor", {"id": "long", "at": "timestamp"}, cursor="at", since="updated_after", overlap="100m")
    with shops.opened() as shop, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_SHOP", shop.connection())
        for run, values in enumerate(runs):
            shop.rows += [order(next(numbers), value + run) for value in values]
            shop.rows.insert(0, order(next(numbers), 100 + run))
            assert ids(taken_in(lake, of)) == sorted(row["id"] for row in shop.rows)


def test_the_end_is_a_moment(lake_uri: str) -> None:
    before = time.time()
    found = end_of(lake_uri, source("whole"))["until"] / 1_000_000
    assert before <= found <= time.time()


def test_a_refused_row_that_comes_again_is_told_and_judged_once(shop: Shop, lake_uri: str) -> None:
    of = source("whole", {"id": "long", "at": "timestamp"}, max_bad=0.2, cursor="at", since="after")
    shop.rows = [*(order(n, n) for n in range(9)), order(99, 9) | {"id": "no number"}]
    assert ids(taken_in(lake_uri, of)) == list(range(9))
    assert ids(taken_in(lake_uri, of)) == list(range(9)), "nothing new but what was refused: no reason to stop"
    shop.rows.append(order(10, 10))
    assert ids(taken_in(lake_uri, of)) == [*range(9), 10]
    assert len(rows(lake_uri, "flights_quarantine")) == 1

"""Tables and queries of a real PostgreSQL: each row once, also those that are committed late."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers.postgresql import PostgreSQL
from tests.tradewind_runtime.steprun import ingest, rows
from tests.tradewind_runtime.tables import new_lake

from tradewind.dev.running import start
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.execute import execute
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.sources import Access, sql
from tradewind_runtime.sources.databases import Database

pytestmark = pytest.mark.server
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with start(PostgreSQL.at(tmp_path_factory.mktemp("postgresql"))) as running:
        yield running.server


@pytest.fixture
def name(server: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a table of this test's own."""
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", server.connections()["postgres_default"])
    return f"t{next(NUMBERS)}"


NUMBERS = itertools.count()


def source(name: str, columns: dict[str, str] | None = None, **more: Any) -> Source:
    asked = ({} if "query" in more else {"table": name}) | more
    return Source.model_validate({"sql": asked, "columns": columns, "max_bad": 0})


def end(server: PostgreSQL, of: Source) -> dict[str, int]:
    given = Connection.parse("postgres_default", server.connections()["postgres_default"])
    return sql.end_position(of, Access(lake=None, connection=given))


RUNS = itertools.count()


def taken_in(server: PostgreSQL, lake: str, of: Source, pinned: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """The table's rows after a run."""
    run(lake, of, end(server, of) if pinned is None else pinned)
    return rows(lake)


def run(lake: str, of: Source, pinned: dict[str, int]) -> float:
    """How many rows it has read."""
    return ingest(lake, of, pinned, connection="postgres_default", run=f"r{next(RUNS)}").metrics["rows"]


def ids(found: list[dict[str, Any]]) -> list[int]:
    return sorted(row["id"] for row in found)


def raw(lake: str) -> Table:
    return Lake(lake).table("demo/flights_raw")


def once_more(lake: str, of: Source, pinned: dict[str, int]) -> None:
    """Another attempt of a run that is done changes nothing."""
    version = raw(lake).version()
    assert run(lake, of, pinned) == 0
    assert raw(lake).version() == version


def test_a_table_comes_whole_and_typed(server: PostgreSQL, name: str, lake_uri: str) -> None:
    server.run(
        f"CREATE TABLE {name} (id bigint, small integer, price numeric(9,2), share real, text text, at timestamptz, "
        "local timestamp, day date, ok boolean, raw bytea)",
        f"INSERT INTO {name} VALUES (1, 2, 12.50, 0.5, 'café', '2013-01-01 13:00+01', '2013-01-01 12:00', "
        "'2013-01-01', true, '\\xff00'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    found = sorted(taken_in(server, lake_uri, source(name)), key=lambda row: row["id"])
    told = {key: value for key, value in found[0].items() if not key.startswith("_")}
    assert told == {
        "id": 1, "small": 2, "price": "12.50", "share": 0.5, "text": "café", "at": NOON, "local": NOON,
        "day": date(2013, 1, 1), "ok": True, "raw": b"\xff\x00",
    }  # fmt: skip
    assert all(value is None for key, value in found[1].items() if key != "id" and not key.startswith("_"))


def test_arrays_and_json_are_json(server: PostgreSQL, name: str, lake_uri: str) -> None:
    server.run(f"CREATE TABLE {name} (id bigint, many integer[], within jsonb)")
    server.run(f"INSERT INTO {name} VALUES (1, '{{1,NULL}}', '{{\"a\": [1]}}'), (2, '{{}}', NULL), (3, NULL, '[]')")
    for columns in (None, {"id": "long", "many": "string", "within": "string"}):
        found = taken_in(server, lake_uri, source(name, columns))
        assert sorted((row["id"], row["many"], row["within"]) for row in found) == [
            (1, "[1,null]", '{"a": [1]}'), (2, "[]", None), (3, None, "[]"),
        ]  # fmt: skip


def test_without_a_cursor_each_run_has_all_rows_in_place_of_those_before(
    server: PostgreSQL, name: str, lake_uri: str
) -> None:
    server.run(f"CREATE TABLE {name} (id integer)", f"INSERT INTO {name} VALUES (1), (2)")
    assert [row["id"] for row in taken_in(server, lake_uri, source(name))] == [1, 2]
    server.run(f"DELETE FROM {name} WHERE id = 1", f"INSERT INTO {name} VALUES (3)")
    assert sorted(row["id"] for row in taken_in(server, lake_uri, source(name))) == [2, 3]


def test_by_a_cursor_each_run_has_what_is_new(server: PostgreSQL, name: str, lake_uri: str) -> None:
    of = source(name, cursor="id")
    server.run(
        f"CREATE TABLE {name} (id integer, text text)", f"INSERT INTO {name} SELECT n, 'a' FROM generate_series(1, 5) n"
    )
    pinned = end(server, of)
    server.run(f"INSERT INTO {name} VALUES (6, 'b')")
    assert [row["id"] for row in taken_in(server, lake_uri, of, pinned)] == [1, 2, 3, 4, 5], "up to what was pinned"
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of)) == [1, 2, 3, 4, 5, 6]
    version = Lake(lake_uri).table("demo/flights_raw").version()
    assert len(taken_in(server, lake_uri, of)) == 6
    assert Lake(lake_uri).table("demo/flights_raw").version() == version, "there was nothing new"
    assert Lake(lake_uri).table("demo/flights_raw").position("sql:id") == 6


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_what_is_committed_late_is_caught_by_the_overlap(
    server: PostgreSQL, name: str, lake_uri: str, kind: str
) -> None:
    days = kind == "date"
    step = timedelta(days=1) if days else timedelta(minutes=1)
    of = source(name, cursor="at", overlap="2d" if days else "2m")

    def insert(id: int, steps: float) -> None:
        server.run(f"INSERT INTO {name} VALUES ({id}, '{NOON + step * steps}')")

    server.run(f"CREATE TABLE {name} (id integer, at {kind})")
    insert(1, 0)
    insert(2, 5)
    insert(3, 10)
    taken_in(server, lake_uri, of)
    insert(4, 9)  # committed late, within the overlap
    insert(5, 3)  # later than that
    server.run(f"UPDATE {name} SET id = 30 WHERE id = 3")
    pinned = end(server, of)
    assert ids(taken_in(server, lake_uri, of, pinned)) == [1, 2, 4, 30], "nothing beyond the end is needed"
    once_more(lake_uri, of, pinned)
    insert(6, 11)
    found = taken_in(server, lake_uri, of)
    assert ids(found) == [1, 2, 4, 6, 30]
    assert len({(row["_source"], row["_position"]) for row in found}) == 5
    server.run(f"DELETE FROM {name} WHERE id = 6")
    assert ids(taken_in(server, lake_uri, of)) == [1, 2, 4, 30], "the end does not go back with its row"


def test_an_overlap_comes_and_goes(server: PostgreSQL, name: str, lake_uri: str) -> None:
    plain, overlapping = source(name, cursor="id"), source(name, cursor="id", overlap=10)
    server.run(f"CREATE TABLE {name} (id integer)", f"INSERT INTO {name} VALUES (1), (5)")
    assert ids(taken_in(server, lake_uri, plain)) == [1, 5]
    server.run(f"INSERT INTO {name} VALUES (3)")
    assert ids(taken_in(server, lake_uri, plain)) == [1, 5]
    for expected, late in (([1, 3, 5], 4), ([1, 3, 4, 5], 2)):
        assert ids(taken_in(server, lake_uri, overlapping)) == expected
        server.run(f"INSERT INTO {name} VALUES ({late})")
    assert ids(taken_in(server, lake_uri, plain)) == [1, 3, 4, 5]
    assert ids(taken_in(server, lake_uri, overlapping)) == [1, 2, 3, 4, 5]


def test_a_cursor_that_comes_goes_or_changes_has_all_read_anew(server: PostgreSQL, name: str, lake_uri: str) -> None:
    whole, by_id, by_at = source(name), source(name, cursor="id"), source(name, cursor="at")
    overlapping = source(name, cursor="at", overlap="1h")
    server.run(f"CREATE TABLE {name} (id integer, at timestamptz, note integer)")
    server.run(*(f"INSERT INTO {name} VALUES ({id}, '{NOON - timedelta(minutes=id)}')" for id in (1, 2, 3)))
    for step, of in enumerate([whole, by_id, by_at, by_id, whole, by_id, by_at, overlapping, whole, overlapping]):
        server.run(f"UPDATE {name} SET note = {step}")  # whatever is read anew has it
        pinned = end(server, of)
        found = taken_in(server, lake_uri, of, pinned)
        assert [(id, row["note"]) for id, row in zip(ids(found), found, strict=True)] == [
            (id, step) for id in (1, 2, 3)
        ]
        once_more(lake_uri, of, pinned)
    later = NOON + timedelta(hours=2)
    server.run(f"UPDATE {name} SET note = -1", f"INSERT INTO {name} VALUES (4, '{later}')")
    assert [run(lake_uri, by_at, end(server, by_at)), run(lake_uri, by_id, end(server, by_id))] == [1, 4]
    server.run(f"INSERT INTO {name} VALUES (5, '{later}')")
    assert run(lake_uri, by_id, end(server, by_id)) == 1, "it goes on from there"
    assert ids(rows(lake_uri)) == [1, 2, 3, 4, 5]


def test_another_table_is_read_from_its_beginning(server: PostgreSQL, name: str, lake_uri: str) -> None:
    one, other = source(name, cursor="id"), source(f"{name}_other", cursor="id")
    for table, last in ((name, 5), (f"{name}_other", 3)):
        server.run(
            f"CREATE TABLE {table} (id integer, note text)",
            f"INSERT INTO {table} SELECT n, '{table}' FROM generate_series(1, {last}) n",
        )
    for of, last in ((one, 5), (other, 3), (one, 5), (other, 3)):
        pinned = end(server, of)
        found = taken_in(server, lake_uri, of, pinned)
        assert of.sql is not None
        assert ids(found) == [*range(1, last + 1)]
        assert {row["note"] for row in found} == {of.sql.table}
        assert raw(lake_uri).position("sql:id") == last
        once_more(lake_uri, of, pinned)
    server.run(f"INSERT INTO {name}_other VALUES (4)")
    assert run(lake_uri, other, end(server, other)) == 1
    assert ids(rows(lake_uri)) == [1, 2, 3, 4]


def test_a_query_whose_text_changes_goes_on(server: PostgreSQL, name: str, lake_uri: str) -> None:
    server.run(f"CREATE TABLE {name} (id integer, n integer)", f"INSERT INTO {name} VALUES (1, 1), (2, 2)")
    taken_in(server, lake_uri, source(name, query=f"SELECT id FROM {name}", cursor="id"))
    server.run(f"INSERT INTO {name} VALUES (3, 3)")
    found = taken_in(server, lake_uri, source(name, query=f"SELECT id, n FROM {name}", cursor="id"))
    assert sorted((row["id"], row["n"]) for row in found if row["n"]) == [(3, 3)]
    assert ids(found) == [1, 2, 3]
    table = source(name, cursor="id")
    assert [row["n"] for row in sorted(taken_in(server, lake_uri, table), key=lambda row: row["id"])] == [1, 2, 3]


@pytest.mark.parametrize(("before", "expected"), [("sql:all", [1, 2, 3]), ("sql:id", [1, 3])], ids=["whole", "cursor"])
def test_a_table_of_an_earlier_version_goes_on_by_its_cursor(
    server: PostgreSQL, name: str, lake_uri: str, before: str, expected: list[int]
) -> None:
    """It does not know of what it was read; only that a cursor is new."""
    of, rows_before = source(name, cursor="id"), pa.table({"id": pa.array([1], pa.int32())})
    table = raw(lake_uri)
    files = table.stage(rows_before.to_batches(), rows_before.schema)
    table.commit(files, schema=rows_before.schema, positions={before: Advance(None, 2)})
    server.run(f"CREATE TABLE {name} (id integer)", f"INSERT INTO {name} VALUES (1), (2), (3)")
    pinned = end(server, of)
    assert ids(taken_in(server, lake_uri, of, pinned)) == expected
    once_more(lake_uri, of, pinned)


def test_a_run_that_was_pinned_by_another_cursor_is_not_read_by_this_one(
    server: PostgreSQL, name: str, lake_uri: str
) -> None:
    server.run(f"CREATE TABLE {name} (id integer)", f"INSERT INTO {name} VALUES (1)")
    whole, by_id = source(name), source(name, cursor="id")
    for of, other in ((whole, by_id), (by_id, whole)):
        pinned = end(server, other)
        with pytest.raises(
            StepError, match="TW527: the run was pinned before the source had this table or cursor"
        ) as caught:
            taken_in(server, lake_uri, of, pinned)
        assert not caught.value.retryable


def test_a_run_that_was_pinned_to_another_table_is_not_read_of_this_one(
    server: PostgreSQL, name: str, lake_uri: str
) -> None:
    """Whose rows up to that place, once they come, would never be read."""
    for table, last in ((name, 5), (f"{name}_other", 3)):
        server.run(f"CREATE TABLE {table} (id integer)", f"INSERT INTO {table} SELECT generate_series(1, {last})")
    pinned = end(server, source(name, cursor="id"))
    with pytest.raises(StepError, match="TW527: the run was pinned before the source had this table"):
        taken_in(server, lake_uri, source(f"{name}_other", cursor="id"), pinned)


@pytest.mark.parametrize(
    "more", [{}, {"cursor": "id"}, {"cursor": "id", "overlap": 1}], ids=["whole", "cursor", "overlap"]
)
def test_an_older_run_of_another_table_that_is_done_again_takes_nothing_back(
    server: PostgreSQL, name: str, lake_uri: str, more: dict[str, Any]
) -> None:
    """It has the YAML of its own time."""
    for table, last in ((name, 5), (f"{name}_other", 3)):
        server.run(f"CREATE TABLE {table} (id integer)", f"INSERT INTO {table} SELECT generate_series(1, {last})")
    older, newer = source(name, **more), source(f"{name}_other", cursor="id")
    pinned = end(server, older)
    assert ids(taken_in(server, lake_uri, older, pinned)) == [1, 2, 3, 4, 5]
    assert ids(taken_in(server, lake_uri, newer)) == [1, 2, 3]
    once_more(lake_uri, older, pinned)
    assert ids(rows(lake_uri)) == [1, 2, 3]


def test_how_days_are_read_may_change_with_the_table(server: PostgreSQL, name: str, lake_uri: str) -> None:
    ago = datetime.now(UTC).date() - timedelta(days=4)
    for table in (name, f"{name}_other"):
        server.run(f"CREATE TABLE {table} (id integer, day date)", f"INSERT INTO {table} VALUES (1, '{ago}')")
    once = source(name, {"id": "long"}, cursor="day")
    again = source(f"{name}_other", {"id": "long", "day": "date"}, cursor="day")
    for of in (once, again, once, again):
        pinned = end(server, of)
        assert ids(taken_in(server, lake_uri, of, pinned)) == [1]
        once_more(lake_uri, of, pinned)
        assert ids(taken_in(server, lake_uri, of)) == [1]


def test_a_day_goes_on_after_a_run_has_read_it(server: PostgreSQL, name: str, lake_uri: str) -> None:
    of = source(name, cursor="day")

    def insert(id: int, day: int) -> None:
        server.run(f"INSERT INTO {name} VALUES ({id}, '2013-01-0{day}')")

    server.run(f"CREATE TABLE {name} (id integer, day date)")
    insert(1, 1)
    insert(2, 2)
    taken_in(server, lake_uri, of)
    insert(3, 2)
    pinned = end(server, of)
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of, pinned)) == [1, 2, 3], "no later day is needed"
    version = Lake(lake_uri).table("demo/flights_raw").version()
    taken_in(server, lake_uri, of, pinned)
    assert Lake(lake_uri).table("demo/flights_raw").version() == version, "the same run, once more"
    insert(4, 2)
    insert(5, 3)
    insert(6, 1)
    found = taken_in(server, lake_uri, of)
    assert sorted(row["id"] for row in found) == [1, 2, 3, 4, 5], "6 is of a day before the last"
    places = [(row["_source"], row["_position"]) for row in found]
    assert len(set(places)) == len(places)
    server.run(f"DELETE FROM {name} WHERE day = '2013-01-03'")
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of)) == [1, 2, 3, 4]


def test_of_a_day_that_is_read_again_its_rows_alone_are_checked_again(
    server: PostgreSQL, name: str, lake_uri: str
) -> None:
    of, lake = source(name, cursor="day"), Lake(lake_uri)
    server.run(f"CREATE TABLE {name} (id integer, day date)")

    def run(*days: int) -> float:
        """Rows that the check passes, once there are some more."""
        server.run(*(f"INSERT INTO {name} VALUES ({day}, '2013-01-0{day}')" for day in days))
        taken_in(server, lake_uri, of)
        version = lake.table("demo/flights_raw").version()
        asked = StepRequest(
            step="check", id="check_flights", pipeline="demo", run_id=f"c{version}", lake=lake_uri,
            config={"source": "flights", "expectations": [], "time": "day"},
            inputs={"rows": DatasetRef(table="demo/flights_raw", version=version or 0)},
        )  # fmt: skip
        return execute(asked).metrics["rows"]

    assert [run(1, 2, 3), run(), run(3, 4), run(4, 4)] == [3, 1, 3, 3]
    assert sorted(row["id"] for row in rows(lake_uri, "flights")) == [1, 2, 3, 3, 4, 4, 4]


@pytest.mark.parametrize("more", [{}, {"cursor": "n", "overlap": 100}], ids=["whole", "overlap"])
def test_a_refused_row_that_comes_again_is_told_and_judged_once(
    server: PostgreSQL, name: str, lake_uri: str, more: dict[str, Any]
) -> None:
    server.run(f"CREATE TABLE {name} (n bigint, v text)", f"INSERT INTO {name} VALUES (1, '1'), (2, 'none'), (3, '3')")
    of = source(name, {"n": "long", "v": "long"}, **more).model_copy(update={"max_bad": 1})
    assert [row["n"] for row in taken_in(server, lake_uri, of)] == [1, 3]
    server.run(f"INSERT INTO {name} VALUES (4, '4')")
    assert sorted(row["n"] for row in taken_in(server, lake_uri, of)) == [1, 3, 4]
    server.run(f"INSERT INTO {name} VALUES (5, 'nor this')")
    taken_in(server, lake_uri, of)
    refused = [json.loads(row["content"])["v"] for row in rows(lake_uri, "flights_quarantine")]
    assert sorted(refused) == ["none", "nor this"]


@pytest.mark.parametrize("columns", [{"id": "long"}, {"id": "long", "day": "string"}], ids=["none", "of a text"])
def test_days_that_the_table_cannot_tell_are_read_once_they_are_over(
    server: PostgreSQL, name: str, lake_uri: str, columns: dict[str, str]
) -> None:
    of, today = source(name, columns, cursor="day"), datetime.now(UTC).date()

    def insert(id: int, ago: int) -> None:
        server.run(f"INSERT INTO {name} VALUES ({id}, '{today - timedelta(days=ago)}')")

    server.run(f"CREATE TABLE {name} (id integer, day date)")
    insert(1, 4)
    insert(2, 0)
    assert [row["id"] for row in taken_in(server, lake_uri, of)] == [1]
    insert(3, 3)
    insert(4, 0)
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of)) == [1, 3]
    pinned = end(server, of)
    pinned["asked at"] += 2 * 24 * 60 * 60 * 1_000_000
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of, pinned)) == [1, 2, 3, 4]
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of)) == [1, 2, 3, 4], (
        "an earlier moment takes nothing back"
    )


@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "comes"])
def test_how_days_are_read_does_not_change_from_run_to_run(
    server: PostgreSQL, name: str, lake_uri: str, leaves: bool
) -> None:
    """Rows of the last day would be there twice, or some of them never."""
    with_day, without = (
        source(name, {"id": "long", "day": "date"}, cursor="day"),
        source(name, {"id": "long"}, cursor="day"),
    )
    before, after = (with_day, without) if leaves else (without, with_day)
    server.run(f"CREATE TABLE {name} (id integer, day date)")
    server.run(f"INSERT INTO {name} VALUES (1, '{datetime.now(UTC).date() - timedelta(days=4)}')")
    taken_in(server, lake_uri, before)
    server.run(f"INSERT INTO {name} VALUES (2, '{datetime.now(UTC).date() - timedelta(days=4)}')")
    with pytest.raises(StepError, match=r"TW527: the cursor 'day' has (left|come to) columns"):
        taken_in(server, lake_uri, after)
    again = [row["id"] for row in taken_in(server, lake_uri, before)]
    assert again == ([1, 2] if leaves else [1])


def test_an_overlap_that_the_table_cannot_tell_is_refused_from_the_first_run_on(
    server: PostgreSQL, name: str, lake_uri: str
) -> None:
    server.run(f"CREATE TABLE {name} (id integer, at timestamp)", f"INSERT INTO {name} VALUES (1, '2013-01-01')")
    with pytest.raises(StepError, match="are found by the cursor 'at', which the table has not") as caught:
        taken_in(server, lake_uri, source(name, {"id": "long", "at": "date"}, cursor="at", overlap="2d"))
    assert caught.value.problems[0].code == "TW527"


def test_a_query_is_read_in_parts(server: PostgreSQL, name: str, lake_uri: str) -> None:
    server.run(
        f"CREATE TABLE {name} (id integer, n integer)",
        f"INSERT INTO {name} SELECT n, abs(n) % 7 FROM generate_series(-500, 99999) n",
        f"INSERT INTO {name} VALUES (NULL, 1)",
    )
    of = source(name, query=f"SELECT id, n + 1 AS n FROM {name} WHERE n < 5;", split_by="id", parts=4)
    found = taken_in(server, lake_uri, of)
    expected = [n for n in range(-500, 100_000) if abs(n) % 7 < 5]
    assert sorted(row["id"] for row in found if row["id"] is not None) == expected
    assert sum(row["id"] is None for row in found) == 1
    places = [(row["_source"], row["_position"]) for row in found]
    assert len(set(places)) == len(places)


#: Whoever reads a row waits while the gate is shut. It is stable, so that the lowest and highest are found without it.
GATE = """
CREATE FUNCTION {name}_gate() RETURNS integer STABLE LANGUAGE plpgsql AS
'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN pg_backend_pid(); END'
"""
SHUT = "SELECT pg_advisory_xact_lock(4711)"
AT_THE_GATE = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def opened_for(parts: int, gate: Any) -> set[int]:
    """Who stands at the gate once so many do, or after a minute; then it opens."""
    until = time.monotonic() + 60
    with gate.cursor() as cursor:
        while True:
            cursor.execute(AT_THE_GATE)
            found = {pid for (pid,) in cursor.fetchall()}
            if len(found) == parts or time.monotonic() > until:
                gate.rollback()
                return found
            time.sleep(0.02)


def test_parts_are_read_at_once_and_of_one_moment(
    server: PostgreSQL, name: str, lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rival changes rows of each part once the moment has its name, and before any part is read."""
    server.run(
        f"CREATE TABLE {name} (id integer, n integer)",
        f"INSERT INTO {name} SELECT id, 0 FROM generate_series(1, 400) id",
        GATE.format(name=name),
    )
    exported = Database.moment

    with server.session() as gate, ThreadPoolExecutor(1) as pool:
        opening: list[Future[set[int]]] = []

        def then_a_rival(self: Database) -> str:
            moment = exported(self)
            server.run(
                f"INSERT INTO {name} SELECT id, 1 FROM generate_series(1, 400) id",
                f"UPDATE {name} SET n = 2 WHERE id % 3 = 0",
                f"DELETE FROM {name} WHERE id % 5 = 0",
            )
            with gate.cursor() as cursor:
                cursor.execute(SHUT)
            opening.append(pool.submit(opened_for, 4, gate))
            return moment

        monkeypatch.setattr(Database, "moment", then_a_rival)
        query = f"SELECT id, n, {name}_gate() AS backend FROM {name}"
        found = taken_in(server, lake_uri, source(name, query=query, split_by="id", parts=4))
        together = opening[0].result()
    assert sorted((row["id"], row["n"]) for row in found) == [(id, 0) for id in range(1, 401)]
    assert len(together) == 4
    assert {row["backend"] for row in found} == together


@pytest.mark.parametrize("overlap", [0, 10])
def test_by_a_cursor_parts_have_what_is_new(server: PostgreSQL, name: str, lake_uri: str, overlap: int) -> None:
    of = source(name, cursor="n", split_by="part", parts=3, **({"overlap": overlap} if overlap else {}))

    def insert(first: int, last: int) -> None:
        server.run(
            f"INSERT INTO {name} SELECT n, nullif(n % 11, 0), 'as it was' FROM generate_series({first}, {last}) n"
        )

    server.run(f"CREATE TABLE {name} (n bigint, part integer, note text)")
    insert(1, 300)
    pinned = end(server, of)
    insert(301, 350)
    assert run(lake_uri, of, pinned) == 300, "up to what was pinned"
    server.run(f"UPDATE {name} SET note = 'changed'")
    assert run(lake_uri, of, end(server, of)) == 50 + overlap
    assert run(lake_uri, of, end(server, of)) == overlap
    found = rows(lake_uri)
    assert sorted(row["n"] for row in found) == list(range(1, 351))
    assert {row["n"] for row in found if row["note"] == "changed"} == set(range(301 - overlap, 351))
    assert len({(row["_source"], row["_position"]) for row in found}) == 350


@pytest.mark.parametrize("more", [{"parts": 4, "split_by": "id"}, {}], ids=["parts", "one"])
def test_a_table_without_a_row_is_one(server: PostgreSQL, name: str, lake_uri: str, more: dict[str, Any]) -> None:
    server.run(f"CREATE TABLE {name} (id integer)")
    assert taken_in(server, lake_uri, source(name, columns={"id": "long"}, **more)) == []
    by_cursor = source(name, columns={"id": "long"}, cursor="id", **more)
    assert end(server, by_cursor) == {}
    assert taken_in(server, lake_uri, by_cursor) == []


@pytest.mark.parametrize("cursor", ["select", "all", "of"])
def test_names_are_only_names(
    server: PostgreSQL, name: str, lake_uri: str, cursor: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.run(f'CREATE TABLE "{name}" ("{cursor}" integer, "a b" text)', f"""INSERT INTO "{name}" VALUES (1, 'x')""")
    for _ in range(2):
        with caplog.at_level(logging.INFO):
            (row,) = taken_in(server, lake_uri, source(name, cursor=cursor))
        assert row[cursor] == 1
    assert f"{name}: left out, since no table can hold them: a b\n" in caplog.text


WRONG: list[tuple[dict[str, Any], dict[str, Any], str, bool]] = [
    ({"password": "stolen"}, {"table": "t"}, "password authentication failed", False),
    ({"schema": "absent"}, {"table": "t"}, "does not exist", False),
    ({}, {"table": "absent"}, 'relation "absent" does not exist', False),
    ({}, {"query": "SELECT 1 +"}, "syntax error", False),
    ({}, {"query": "SELECT 1; DROP TABLE x"}, "syntax error", False),
    ({"port": 9}, {"table": "t"}, "[Cc]onnection refused", True),
    ({"conn_type": "oracle"}, {"table": "t"}, "no database that can be read", False),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[2])
def test_what_does_not_work_is_told(
    server: PostgreSQL, lake_uri: str, monkeypatch: pytest.MonkeyPatch, wrong: tuple[dict, dict, str, bool]
) -> None:
    given, asked, why, retryable = wrong
    body = json.loads(server.connections()["postgres_default"]) | given
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", json.dumps(body))
    with pytest.raises(StepError, match=rf"TW525(.|\n)*{why}") as caught:
        ingest(lake_uri, source("t", **asked), {"all": 1}, connection="postgres_default")
    assert caught.value.retryable == retryable
    assert body["password"] not in str(caught.value)


def test_a_query_cannot_write(server: PostgreSQL, name: str, lake_uri: str) -> None:
    server.run(f"CREATE TABLE {name} (id integer)", f"CREATE SEQUENCE {name}_numbers")
    with pytest.raises(StepError, match="read-only"):
        ingest(
            lake_uri, source(name, query=f"SELECT nextval('{name}_numbers')"), {"all": 1}, connection="postgres_default"
        )


@pytest.mark.parametrize("cursor", ["text", "absent"])
def test_a_cursor_that_is_none_is_told(server: PostgreSQL, name: str, cursor: str) -> None:
    server.run(f"CREATE TABLE {name} (id integer, text text)")
    with pytest.raises(StepError, match=r"TW527(.|\n)*whole numbers or times"):
        end(server, source(name, cursor=cursor))


#: What PostgreSQL has, and Python has not.
BEYOND = [
    ("timestamptz", "30000-01-01 00:00:00+00"), ("timestamptz", "infinity"), ("timestamp", "infinity"),
    ("timestamp", "0044-03-15 00:00:00 BC"), ("date", "30000-01-01"), ("date", "-infinity"),
]  # fmt: skip
TOO_FAR = r"TW527: the cursor's highest value, {}\.at, is too far away"


@pytest.mark.parametrize(("kind", "value"), BEYOND)
def test_a_cursor_whose_highest_value_is_no_time_is_told(server: PostgreSQL, name: str, kind: str, value: str) -> None:
    server.run(f"CREATE TABLE {name} (id integer, at {kind})", f"INSERT INTO {name} VALUES (1, '{value}')")
    with pytest.raises(StepError, match=TOO_FAR.format(name)) as caught:
        end(server, source(name, cursor="at"))
    (problem,) = caught.value.problems
    assert (caught.value.retryable, problem.got) == (False, value)
    mended = source(name, query=f"SELECT * FROM {name} WHERE id > 1", cursor="at")
    assert end(server, mended) == {}


#: What the next run could not go on from, as it reads something of before again.
EDGES = [("date", "9999-12-31"), ("date", "0001-01-01"), ("timestamp", "9999-12-31 23:59:59.999999")]


@pytest.mark.parametrize(("kind", "value"), EDGES)
def test_a_cursor_does_not_come_to_where_time_ends(
    server: PostgreSQL, name: str, lake_uri: str, kind: str, value: str
) -> None:
    server.run(f"CREATE TABLE {name} (id integer, at {kind})", f"INSERT INTO {name} VALUES (1, '{value}')")
    with pytest.raises(StepError, match=TOO_FAR.format(name)) as caught:
        taken_in(server, lake_uri, source(name, cursor="at", overlap="2d"))
    (problem,) = caught.value.problems
    assert not caught.value.retryable
    assert value in problem.got


def test_days_of_which_none_is_a_time_are_told(server: PostgreSQL, name: str, lake_uri: str) -> None:
    server.run(f"CREATE TABLE {name} (id integer, at date)", f"INSERT INTO {name} VALUES (1, '-infinity')")
    of = source(name, {"id": "long"}, cursor="at")
    with pytest.raises(StepError, match=TOO_FAR.format(name)):
        taken_in(server, lake_uri, of, {"at": 0, "asked at": 1})


@pytest.mark.parametrize(
    ("kind", "got"), [("text", "string"), ("numeric", "string"), ("date", "date32[day]"), (None, "no such column")]
)
def test_parts_are_cut_by_whole_numbers_alone(
    server: PostgreSQL, name: str, lake_uri: str, kind: str | None, got: str
) -> None:
    server.run(f"CREATE TABLE {name} (id integer{f', part {kind}' if kind else ''})")
    with pytest.raises(StepError, match=rf"TW527: split_by, {name}\.part, is no column of whole numbers") as caught:
        taken_in(server, lake_uri, source(name, split_by="part", parts=2))
    (problem,) = caught.value.problems
    assert (caught.value.retryable, problem.got) == (False, got)


@settings(max_examples=10)
@given(st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=4))
def test_each_row_is_there_once_whatever_comes_late(server: PostgreSQL, runs: list[list[int]]) -> None:
    """With an overlap as large as whatever comes late; rows may have the same cursor."""
    name, lake = f"t{next(NUMBERS)}", new_lake().root
    of = source(name, columns={"id": "long", "n": "long"}, cursor="n", overlap=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", server.connections()["postgres_default"])
        server.run(f"CREATE TABLE {name} (id serial, n integer)")
        for number, values in enumerate(runs):
            server.run(
                *(f"INSERT INTO {name} (n) VALUES ({value + number})" for value in values),
                f"INSERT INTO {name} (n) VALUES ({100 + number})",
            )
            found = taken_in(server, lake, of)
        if runs:
            assert sorted(row["id"] for row in found) == list(range(1, sum(map(len, runs)) + len(runs) + 1))

"""Tables and queries of a real PostgreSQL: each row once, also those that are committed late."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

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
from tradewind_runtime.lake import Lake
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
    ingest(lake, of, end(server, of) if pinned is None else pinned, connection="postgres_default", run=f"r{next(RUNS)}")
    return rows(lake)


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
    again = [1, 2, 4, 30] if days else [1, 2, 3]  # nothing lies beyond the end yet; of days the last is read again
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of)) == again
    insert(6, 11)
    assert sorted(row["id"] for row in taken_in(server, lake_uri, of)) == [1, 2, 4, 6, 30]


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

    def run(pinned: dict[str, int]) -> float:
        return ingest(lake_uri, of, pinned, connection="postgres_default", run=f"r{next(RUNS)}").metrics["rows"]

    server.run(f"CREATE TABLE {name} (n bigint, part integer, note text)")
    insert(1, 300)
    pinned = end(server, of)
    insert(301, 350)
    assert run(pinned) == 300, "up to what was pinned"
    server.run(f"UPDATE {name} SET note = 'changed'")
    assert run(end(server, of)) == 50 + overlap
    assert run(end(server, of)) == 0
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


def test_names_are_only_names(server: PostgreSQL, name: str, lake_uri: str) -> None:
    server.run(f'CREATE TABLE "{name}" ("select" integer, "a b" text)', f"""INSERT INTO "{name}" VALUES (1, 'x')""")
    (row,) = taken_in(server, lake_uri, source(name, cursor="select"))
    assert row["select"] == 1


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

"""Who writes to one table at the same moment: in a folder and on a real S3 server no commit is lost or doubled."""

from __future__ import annotations

import multiprocessing
import threading
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pyarrow as pa
import pytest
from tests.servers import buckets
from tests.tradewind_runtime.tables import SCHEMA, START, batches, numbers

from tradewind_runtime.compaction import compact
from tradewind_runtime.connections import Connection
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, PositionsMovedError, Table
from tradewind_runtime.retention import expire

WRITERS = 6


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.server)])
def lake(request: pytest.FixtureRequest, lake_uri: str) -> Lake:
    """An empty one, in each place that a lake may lie in."""
    if request.param == "folder":
        return Lake(lake_uri)
    server = request.getfixturevalue("s3_server")
    buckets.make(server, "rivals")
    return Lake(f"s3://rivals/{uuid.uuid4()}", Connection.parse("s3_default", server.connections()["s3_default"]))


def append(table: Table, n: int, hour: int = 0) -> int:
    """A row; the version that holds it."""
    return table.commit(table.stage(batches((hour, n)), SCHEMA, cut_by="time"), schema=SCHEMA)


def copy(table: Table, end: int) -> None:
    """A log of so many rows, of which others copy too."""
    while (at := table.position("log") or 0) < end:
        try:
            files = table.stage(batches((at, at)), SCHEMA)
            table.commit(files, schema=SCHEMA, positions={"log": Advance(at or None, at + 1)})
        except PositionsMovedError:
            continue


def test_on_threads_each_row_comes_once(lake: Lake) -> None:
    table = lake.table("p/t")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(copy, [table] * 4, [12] * 4))
    assert numbers(table) == list(range(12))
    assert table.version() == 12, "one commit for each, after the one that made it"


def test_in_processes_of_their_own_each_row_comes_once(lake: Lake) -> None:
    table = lake.table("p/t")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(copy, [table] * 2, [20] * 2))
    assert numbers(table) == list(range(20))
    assert table.version() == 20


def test_first_commits_race_and_none_is_lost(lake: Lake) -> None:
    """Each on a table that nobody has made yet; they have no positions that would tell them of each other."""
    for name in range(8):
        table, together = lake.table(f"p/{name}"), threading.Barrier(WRITERS)

        def first(n: int, table: Table = table, together: threading.Barrier = together) -> int:
            together.wait(60)
            return append(table, n)

        with ThreadPoolExecutor(WRITERS) as pool:
            versions = list(pool.map(first, range(WRITERS)))
        assert numbers(table) == list(range(WRITERS))
        assert sorted(versions) == list(range(1, WRITERS + 1)), "each is told the version that is its own"


def test_columns_added_at_once_are_all_there(lake: Lake) -> None:
    for name in range(8):
        table = lake.table(f"p/{name}")
        table.create(SCHEMA)
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda n, table=table: table.add_columns([pa.field(f"c{n}", pa.int64())]), range(WRITERS)))
        assert set(table.snapshot().schema.names) == {*SCHEMA.names, *(f"c{n}" for n in range(WRITERS))}


def test_rows_that_come_while_files_are_put_together_are_there(lake: Lake) -> None:
    table = lake.table("p/t")
    for n in range(10):
        append(table, n, hour=24 * (n % 2))
    seen = table.snapshot()
    with ThreadPoolExecutor(WRITERS) as pool:
        done = [pool.submit(append, table, n) for n in range(10, 18)]
        compacting = pool.submit(compact, table, seen.version)
        for one in done:
            one.result()
    assert compacting.result() == len(seen.files) == 10
    assert numbers(table) == list(range(18))
    assert not set(seen.files) & set(table.snapshot().files)
    assert sorted(seen.to_arrow()["n"].to_pylist()) == list(range(10)), "who is pinned to it still reads it"


def test_rows_that_come_while_old_ones_go_are_there(lake: Lake) -> None:
    table = lake.table("p/t")
    for n, hours in enumerate([(0, 1), (1, 3), (4, 4)]):
        rows = batches(*((hour, 10 * n + place) for place, hour in enumerate(hours)))
        table.commit(table.stage(rows, SCHEMA), schema=SCHEMA)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(append, table, n, hour=5) for n in range(50, 56)]
        done += [pool.submit(expire, table, "time", START.replace(hour=2))]
        done += [pool.submit(compact, table, table.snapshot().version)]
        for one in done:
            one.result()
    expire(table, "time", START.replace(hour=2))
    assert numbers(table) == [11, 20, 21, *range(50, 56)]

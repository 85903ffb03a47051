"""Upkeep of tables: what models and running runs stand on stays readable, whatever else goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.tradewind_runtime.tables import SCHEMA, batches, numbers

from tradewind_runtime import leases
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.maintenance import compact, pinned, vacuum
from tradewind_runtime.steps.check import POSITION

NAME = "p/t"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is two days old."""
    monkeypatch.setattr("tradewind_runtime.lake.YOUNGEST", 0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """With a table of which each version took the place of the one before."""
    found = Lake((tmp_path / "a lake").as_uri())
    for n in range(5):
        taken(found.table(NAME), n)
    return found


def taken(table: Table, n: int) -> int:
    return table.commit(table.stage(batches((0, n)), SCHEMA), schema=SCHEMA, replace="all")


def ran(lake: Lake, run: str, version: int, *, registered: bool) -> None:
    """What a run leaves in the lake."""
    ref = DatasetRef(table=NAME, version=version).model_dump_json()
    lake.documents.put(f"results/transform/{run}.json", f'{{"outputs": {{"features": {ref}}}}}'.encode())
    lake.documents.put(f"runs/p/{run}/results/transform", f"results/transform/{run}.json".encode())
    if registered:
        lake.documents.put(f"results/register/{run}.json", b'{"outputs": {}}')
        lake.documents.put(f"runs/p/{run}/results/register", f"results/register/{run}.json".encode())


def readable(lake: Lake) -> set[int]:
    found = set()
    for version in range(1, 6):
        try:
            numbers(lake.table(NAME), version)
        except FileNotFoundError:
            continue
        found.add(version)
    return found


@pytest.mark.usefixtures("at_once")
def test_what_models_stand_on_stays_and_all_else_goes(lake: Lake) -> None:
    ran(lake, "r1", 2, registered=True)
    ran(lake, "r2", 3, registered=False)
    assert pinned(lake.documents) == {NAME: {2}}
    assert vacuum(lake, NAME, pinned(lake.documents), days=0, dry_run=True).files == 3
    assert readable(lake) == {1, 2, 3, 4, 5}
    done = vacuum(lake, NAME, pinned(lake.documents), days=0, dry_run=False)
    assert (done.files, done.pinned) == (3, (2,))
    assert readable(lake) == {2, 5}
    assert numbers(lake.table(NAME), 2) == [1]


def test_a_run_that_waits_for_a_person_keeps_what_it_stands_on(lake: Lake) -> None:
    run = "scheduled__2013-01-01T00:00:00+00:00"
    ran(lake, run.replace(":", "_"), 3, registered=False)
    held = leases.acquire(lake.documents, "pipeline-p-train", "p", run, lambda _: False)
    assert pinned(lake.documents) == {NAME: {3}}
    assert held is not None
    leases.release(lake.documents, held)
    assert pinned(lake.documents) == {}


def test_pins_of_another_pipelines_run_count(lake: Lake) -> None:
    ran(lake, "r1", 2, registered=True)
    lake.documents.put("runs/p/r1/pins.json", b'{"tables": {"p/t": 4, "p/u": 1}}')
    assert pinned(lake.documents) == {NAME: {2, 4}, "p/u": {1}}


def test_a_week_is_left_alone_and_so_is_what_a_writer_has_just_staged(lake: Lake) -> None:
    table = lake.table(NAME)
    staged, left = (table.stage(batches((0, n)), SCHEMA) for n in (7, 8))
    old = time.time() - 8 * 86400
    os.utime(f"{table.uri}/{left[0].path}", (old, old))
    done = vacuum(lake, NAME, pinned(lake.documents), days=7, dry_run=False)
    assert done.files == 1, "only what a killed writer has left long ago"
    assert readable(lake) == {1, 2, 3, 4, 5}
    table.commit(staged, schema=SCHEMA, replace="all")
    assert numbers(table) == [7]


def test_whatever_is_asked_for_what_a_writer_has_just_staged_stays(lake: Lake) -> None:
    table = lake.table(NAME)
    staged = table.stage(batches((0, 7)), SCHEMA)
    assert vacuum(lake, NAME, pinned(lake.documents), days=0, dry_run=False).files == 0
    table.commit(staged, schema=SCHEMA, replace="all")
    assert numbers(table) == [7]


def test_of_a_raw_table_only_checked_files_are_put_together(lake: Lake) -> None:
    raw = lake.table("p/s_raw")
    for n in range(4):
        raw.commit(raw.stage(batches((0, n)), SCHEMA), schema=SCHEMA)
    assert compact(lake, "p/s_raw").files == 0, "nothing has been checked"
    checked = lake.table("p/s")
    checked.commit([], schema=SCHEMA, positions={POSITION: Advance(None, 3)})
    done = compact(lake, "p/s_raw")
    assert (done.files, done.left) == (3, 2)
    assert numbers(raw) == [0, 1, 2, 3]


def test_a_table_with_one_file_is_left_alone(lake: Lake) -> None:
    version = lake.table(NAME).version()
    assert compact(lake, NAME).files == 0
    assert lake.table(NAME).version() == version

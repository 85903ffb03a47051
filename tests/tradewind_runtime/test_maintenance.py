"""Upkeep of tables: what models and running runs stand on stays readable, whatever else goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.tables import SCHEMA, batches, numbers

from tradewind_runtime import gone, leases
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.gone import Gone
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


def test_what_was_replaced_of_late_stays_also_where_a_checkpoint_has_forgotten_when(lake: Lake) -> None:
    """Ten days ago a file of forty days gave way: for thirty days its version can be read."""
    table, now = lake.table(NAME), time.time()
    keys = {"commitInfo": "timestamp", "add": "modificationTime", "remove": "deletionTimestamp"}
    for version in range(6):
        at = now - (40 - version if version < 4 else 10) * 86_400
        log = Path(table.uri) / f"_delta_log/{version:020}.json"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        for line in lines:
            for action in keys.keys() & line.keys():
                line[action][keys[action]] = int(at * 1_000)
            if "add" in line:
                os.utime(Path(table.uri) / line["add"]["path"], (at, at))
        log.write_text("\n".join(map(json.dumps, lines)) + "\n")
        os.utime(log, (at, at))
    DeltaTable(table.uri).create_checkpoint()
    vacuum(Lake(lake.root), NAME, {}, days=30, dry_run=False)
    assert readable(lake) == {3, 4, 5}, "version 3 was the newest until ten days ago"


@pytest.mark.usefixtures("at_once")
def test_versions_that_lost_files_are_told_and_no_others(lake: Lake) -> None:
    table = lake.table(NAME)
    table.commit(table.stage(batches((0, 9)), SCHEMA), schema=SCHEMA)  # 6, with the file of 5
    vacuum(lake, NAME, {NAME: {2}}, days=0, dry_run=True)
    assert gone.of(lake.documents, NAME) is None
    vacuum(lake, NAME, {NAME: {2}}, days=0, dry_run=False)
    told = gone.of(lake.documents, NAME)
    assert told is not None
    assert {version for version in range(1, 7) if not told.has(version)} == readable(lake) | {6} == {2, 5, 6}
    vacuum(lake, NAME, {}, days=0, dry_run=False)
    assert gone.of(lake.documents, NAME) == Gone(spans=((1, 5),))
    assert list(lake.tables()) == [NAME]


def same(lake: Lake, table: Table, version: int) -> int | None:
    return gone.same_rows(gone.of(lake.documents, table.name), version, table.commits(version))


@pytest.mark.usefixtures("at_once")
def test_what_an_older_version_took_is_told_with_the_first_that_tells(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, vacuumed_by = lake.table(NAME), Table.vacuum

    def of_a_checkpoint(self: Table, *args: Any, **more: Any) -> list[str]:
        """It knows no more of files that went a week ago."""
        there = set(Path(self.uri).glob("data/*/*.parquet"))
        found = vacuumed_by(self, *args, **more)
        return [path for path in found if Path(self.uri, path) in there]

    table.vacuum(0, {2}, dry_run=False)  # and nothing is told
    monkeypatch.setattr(Table, "vacuum", of_a_checkpoint)
    vacuumed = table.version()
    assert same(lake, table, 3) is None
    assert same(lake, table, 5) == vacuumed, "which has its rows, and is of after that"
    taken(table, 9)
    vacuum(lake, NAME, {NAME: {2}}, days=0, dry_run=False)
    told = gone.of(lake.documents, NAME)
    assert told is not None
    assert not told.has(2)
    assert {1, 3, 4, 5} <= {version for version in range(8) if told.has(version)}
    assert not told.has(table.version() or 0)


def test_two_who_tell_at_once_are_both_heard(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    gone.tell(lake.documents, NAME, [(0, 1)])
    create = Documents.create

    def late(self: Documents, path: str, content: bytes) -> bool:
        monkeypatch.setattr(Documents, "create", create)
        gone.tell(lake.documents, NAME, [(4, 5)])
        return create(self, path, content)

    monkeypatch.setattr(Documents, "create", late)
    gone.tell(lake.documents, NAME, [(2, 3)])
    assert gone.of(lake.documents, NAME) == Gone(spans=((0, 1), (2, 3), (4, 5)))
    lake.documents.put(f"tables/{NAME}/_gone/torn.json", b"")
    assert gone.of(lake.documents, NAME) == Gone(spans=((0, 1), (2, 3), (4, 5)))


@pytest.mark.usefixtures("at_once")
def test_what_upkeep_makes_has_the_same_rows_and_what_a_writer_makes_has_not(lake: Lake) -> None:
    table = lake.table("p/more")
    for n in range(3):
        table.commit(table.stage(batches((0, n)), SCHEMA), schema=SCHEMA)
    compact(lake, "p/more")
    vacuum(lake, "p/more", {}, days=0, dry_run=False)
    assert (same(lake, table, 3), same(lake, table, 2)) == (4, None)
    assert table.version_of_rows() == 3


def test_spans_of_versions_are_joined() -> None:
    assert Gone(spans=((1, 3), (5, 6))).joined([(3, 4), (8, 9)]).spans == ((1, 4), (5, 6), (8, 9))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("upkeep", [("demo/flights_raw", "demo/flights"), ("demo/flights",)], ids=["both", "checked"])
def test_a_new_run_does_again_what_stands_on_rows_that_are_gone(tmp_path: Path, upkeep: tuple[str, ...]) -> None:
    """A source that seldom changes: its tables are put together and vacuumed, and its next run finds its rows."""
    project, source = Project(tmp_path / "a project", (tmp_path / "a lake").as_uri()), objects("*.csv")
    lake = Lake(project.lake)

    def checked(run: str) -> tuple[StepResult, StepResult]:
        rows = project.ingest(source)
        request = StepRequest(
            step="check", id="check_flights", pipeline="demo", run_id=run, lake=project.lake,
            config=CheckConfig(source="flights").model_dump(mode="json"), inputs={"rows": rows.outputs["rows"]},
        )  # fmt: skip
        return rows, execute(request)

    for n in (1, 2):
        project.write(f"{n}.csv", f"n\n{n}\n")
        _, first = checked(f"r{n}")
    assert checked("r3")[1] == first, "nothing has changed"
    for name in upkeep:
        compact(lake, name)
        vacuum(lake, name, {}, days=0, dry_run=False)
    again = checked("r4")[1]
    assert again.run_id == "r4"
    ref = again.outputs["rows"]
    assert isinstance(ref, DatasetRef)
    assert sorted(lake.table(ref.table).snapshot(ref.version).to_arrow()["n"].to_pylist()) == [1, 2]
    assert checked("r5")[1] == again, "and that stands"
    old = StepContext(
        StepRequest(step="transform", id="t", pipeline="demo", run_id="r3", lake=lake.root, inputs=first.outputs),
        lake, tmp_path,
    )  # fmt: skip
    with pytest.raises(StepError, match=r"TW520(.|\n)*is kept no longer"):
        old.snapshot("rows")

"""The lake against the objects that are there now."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from tests.tradewind_runtime.steprun import end_of, ingest

from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Lake
from tradewind_runtime.reconcile import ask
from tradewind_runtime.replacing import Replace
from tradewind_runtime.retention import expire
from tradewind_runtime.sources import Access, objects
from tradewind_runtime.verify import Verified, verify_table

RAW = "demo/flights_raw"


class Folder:
    """Files by date, and a lake that has read some of them."""

    def __init__(self, path: Path, lake: str) -> None:
        self.path, self.lake, self.runs = path, Lake(lake), 0
        self.source = Source.model_validate(
            {"objects": {"uri": "{window.date}.csv"}, "columns": {"n": "long"}, "max_bad": 100}
        )

    def write(self, day: int, *values: object) -> None:
        (self.path / f"2013-01-{day:02d}.csv").write_text("\n".join(["n", *map(str, values), ""]))

    def ingest(self) -> None:
        self.runs += 1
        window = Window.model_validate({"start": "2013-01-01T00:00:00Z", "end": "2013-01-03T00:00:00Z"})
        end = end_of(self.lake.root, self.source, project=self.path, window=window)
        ingest(self.lake.root, self.source, end, project=str(self.path), window=window, run=f"r{self.runs}")

    def verified(self) -> dict[str, Verified]:
        asking = partial(ask, self.source, Access(self.lake, project=self.path))
        return {one.source[8:10]: one for one in verify_table(self.lake, RAW, asking)}


@pytest.fixture
def folder(tmp_path: Path, lake_uri: str) -> Folder:
    (tmp_path / "a project").mkdir()
    found = Folder(tmp_path / "a project", lake_uri)
    found.write(1, 1, 2, "no number", 3)
    found.write(2, 4, 5)
    found.ingest()
    return found


def test_all_that_is_there_was_read(folder: Folder) -> None:
    first, second = folder.verified().values()
    assert (first.rows, first.quarantined, first.lost, first.unknown, first.unread, first.ok) == (3, 1, 0, 0, 0, True)
    assert (second.rows, second.lost, second.ok) == (2, 0, True)


def test_an_object_that_no_run_has_read_or_not_in_this_version(folder: Folder) -> None:
    folder.write(7, 1)
    folder.write(2, 6, 7, 8)
    found = folder.verified()
    assert (found["07"].rows, found["07"].unread, found["07"].ok) == (0, 1, True)
    assert (found["02"].rows, found["02"].unread, found["02"].unknown, found["02"].ok) == (2, 1, None, True)
    folder.ingest()
    assert (folder.verified()["02"].rows, folder.verified()["02"].unread) == (3, 0)


def test_a_row_of_an_object_that_is_lost(folder: Folder) -> None:
    table = folder.lake.table(RAW)
    table.commit([], schema=table.snapshot().schema, replace=Replace("n", 2, 3))
    found = folder.verified()
    assert (found["01"].lost, found["01"].examples, found["01"].ok) == (1, (1,), False)
    assert found["02"].ok


def test_a_strict_policy_for_new_columns_is_for_runs_and_stops_no_verification(folder: Folder) -> None:
    (folder.path / "2013-01-02.csv").write_text("n,more\n4,a\n5,b\n")
    folder.ingest()
    folder.source = folder.source.model_copy(update={"new_columns": "strict"})
    assert [(one.rows, one.lost, one.unknown, one.ok) for one in folder.verified().values()] == [
        (3, 0, 0, True),
        (2, 0, 0, True),
    ]


def test_objects_whose_dates_have_a_format(tmp_path: Path, lake_uri: str) -> None:
    (tmp_path / "a project").mkdir()
    found = Folder(tmp_path / "a project", lake_uri)
    found.source = Source.model_validate(
        {"objects": {"uri": "{window.date:%Y-%m}-{window.date:%d}.csv"}, "columns": {"n": "long"}}
    )
    found.write(1, 1, 2)
    found.ingest()
    found.write(7, 1)
    table = found.lake.table(RAW)
    table.commit([], schema=table.snapshot().schema, replace=Replace("n", 2, 3))
    assert {day: (one.lost, one.unread) for day, one in found.verified().items()} == {"01": (1, 0), "07": (0, 1)}


def test_an_object_that_is_gone_is_not_asked(folder: Folder) -> None:
    (folder.path / "2013-01-02.csv").unlink()
    assert (folder.verified()["02"].lost, folder.verified()["02"].ok) == (None, True)


def test_what_an_older_version_had_refused_is_held_against_nobody(folder: Folder) -> None:
    folder.write(1, 1, 2)
    folder.ingest()
    first = folder.verified()["01"]
    assert (first.rows, first.quarantined, first.unknown, first.ok) == (2, 1, 0, True)


def test_an_object_that_is_written_again_while_it_is_asked(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = objects.end_position

    def late(*given: object) -> object:
        end = listed(*given)
        folder.write(2, 6, 7, 8)
        return end

    monkeypatch.setattr("tradewind_runtime.reconcile.objects.end_position", late)
    found = folder.verified()
    assert (found["02"].unread, found["02"].lost, found["02"].ok) == (1, 0, True)
    assert found["01"].ok


def test_what_retention_has_taken_away_is_no_loss(tmp_path: Path, lake_uri: str) -> None:
    folder = timed(tmp_path, lake_uri)
    table = folder.lake.table(RAW)
    expire(table, "at", datetime(2013, 1, 2, tzinfo=UTC))
    first, second = folder.verified().values()
    assert (first.rows, first.lost, first.expired, first.ok) == (0, 0, 3, True)
    assert (second.rows, second.lost, second.expired, second.ok) == (2, 0, 1, True)
    # What it has not taken away is still missed.
    table.commit([], schema=table.snapshot().schema, replace=Replace("n", 5, 6))
    second = folder.verified()["02"]
    assert (second.lost, second.expired, second.examples, second.ok) == (1, 1, (1,), False)
    folder.ingest()
    assert folder.verified()["01"].rows == 0, "nothing is ingested again"


@pytest.mark.parametrize(("after", "gone"), [(0, (0, 0)), (1, (3, 0)), (2, (3, 3))])
def test_rows_that_went_by_when_they_were_ingested(
    tmp_path: Path, lake_uri: str, after: int, gone: tuple[int, int]
) -> None:
    folder = timed(tmp_path, lake_uri, apart=True)
    table = folder.lake.table(RAW)
    moments = sorted({row["_ingested"] for row in table.snapshot().to_arrow().to_pylist()})
    expire(table, "_ingested", [*moments, datetime.now(UTC)][after])
    assert tuple(one.expired for one in folder.verified().values()) == gone
    assert all(one.ok and one.lost == 0 for one in folder.verified().values())
    if after == 1:
        table.commit([], schema=table.snapshot().schema, replace=Replace("n", 5, 6))
        assert folder.verified()["02"].lost == 1


def timed(path: Path, lake: str, *, apart: bool = False) -> Folder:
    """Two files of three rows each, one of the second's of the day before; read at once, or one after the other."""
    (path / "a project").mkdir()
    folder = Folder(path / "a project", lake)
    folder.source = Source.model_validate(
        {"objects": {"uri": "{window.date}.csv"}, "columns": {"n": "long", "at": "timestamp"}, "time": "at"}
    )
    (folder.path / "2013-01-01.csv").write_text("n,at\n1,2013-01-01\n2,2013-01-01T23:59:59\n3,2013-01-01\n")
    if apart:
        folder.ingest()
    (folder.path / "2013-01-02.csv").write_text("n,at\n4,2013-01-01\n5,2013-01-02\n6,\n")
    folder.ingest()
    return folder

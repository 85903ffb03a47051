"""Splits: by time they follow the window, by chance they follow the row's content."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tradewind_runtime import splits
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.split import RandomSplit, Split
from tradewind_runtime.lake import Lake
from tradewind_runtime.snapshot import Snapshot

START = datetime(2013, 1, 1, tzinfo=UTC)
WINDOW = Window(start=datetime(2013, 1, 10, tzinfo=UTC), end=datetime(2013, 1, 11, tzinfo=UTC))
BY_TIME = Split(time="at", train="5d", valid="2d", test="1d")


def snapshot(root, rows: pa.Table, name: str = "p/t", batch: int | None = None) -> Snapshot:
    table = Lake(root.as_uri()).table(name)
    table.commit(table.stage(rows.to_batches(max_chunksize=batch), rows.schema), schema=rows.schema)
    return table.snapshot()


def hourly(zone: str | None = "UTC") -> pa.Table:
    times = [START + timedelta(hours=n) for n in range(12 * 24)]
    if zone is None:
        times = [time.replace(tzinfo=None) for time in times]
    return pa.table({"at": pa.array(times, pa.timestamp("us", zone)), "n": range(len(times))})


@pytest.mark.parametrize("zone", ["UTC", None])
def test_a_split_by_time_goes_back_from_the_windows_end(tmp_path, zone):
    snap = snapshot(tmp_path, hourly(zone))
    days = {
        part: sorted({at.day for at in splits.rows(snap, BY_TIME, WINDOW, part)["at"].to_pylist()})
        for part in splits.PARTS
    }
    assert days == {"train": [3, 4, 5, 6, 7], "valid": [8, 9], "test": [10]}
    assert splits.counts(snap, BY_TIME, WINDOW) == {"train": 120, "valid": 48, "test": 24, "none": 96}
    assert splits.rows(snap, BY_TIME, WINDOW, "test", ["n"]).column_names == ["n"]


def test_an_empty_part_is_refused_with_the_counts(tmp_path):
    snap = snapshot(tmp_path, hourly().slice(0, 24 * 9))
    with pytest.raises(StepError, match="train: 120, valid: 48, test: 0, none: 48") as caught:
        splits.rows(snap, BY_TIME, WINDOW, "test")
    assert not caught.value.retryable


def test_a_missing_or_wrong_time_column_is_refused(tmp_path):
    snap = snapshot(tmp_path, hourly())
    with pytest.raises(StepError, match="no column 'n' of times"):
        splits.rows(snap, BY_TIME.model_copy(update={"time": "n"}), WINDOW, "test")


def table(count: int = 4000) -> pa.Table:
    return pa.table(
        {
            "x": pa.array([None if n % 7 == 0 else n / 3 for n in range(count)], pa.float64()),
            "k": pa.array([None if n % 11 == 0 else n for n in range(count)], pa.int64()),
            "s": [None if n % 13 == 0 else f"row {n}" for n in range(count)],
            "flag": [n % 2 == 0 for n in range(count)],
            "_position": range(count),
        }
    )


def test_a_random_split_keeps_shares_and_follows_content_not_order(tmp_path):
    split = Split(random=RandomSplit(valid=0.1, test=0.3, seed=3))
    rows = table()
    first = snapshot(tmp_path, rows, "p/a", batch=1000)
    shuffled = rows.take(pa.array(list(reversed(range(rows.num_rows)))))
    moved = shuffled.set_column(4, "_position", pa.array(range(rows.num_rows)))
    second = snapshot(tmp_path, moved, "p/b", batch=37)

    def keys(snap, part):
        return set(zip(*splits.rows(snap, split, None, part, ["x", "k", "s"]).to_pydict().values(), strict=True))

    parts = {part: keys(first, part) for part in splits.PARTS}
    assert parts == {part: keys(second, part) for part in splits.PARTS}
    counts = splits.counts(first, split, None)
    assert counts["none"] == 0
    assert sum(counts.values()) == rows.num_rows
    assert counts["train"] / 4000 == pytest.approx(0.6, abs=0.03)
    assert counts["valid"] / 4000 == pytest.approx(0.1, abs=0.03)
    other = Split(random=RandomSplit(valid=0.1, test=0.3, seed=4))
    assert splits.rows(first, other, None, "test") != splits.rows(first, split, None, "test")


def test_the_default_split_is_random(tmp_path):
    snap = snapshot(tmp_path, table(500))
    assert splits.counts(snap, Split(), None)["train"] == pytest.approx(300, abs=40)

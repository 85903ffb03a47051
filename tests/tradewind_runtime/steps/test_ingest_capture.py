from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.serving.capture import Capture, Captured


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return (tmp_path / "a lake").as_uri()


def ingest(lake: str, run: str, time: str | None = "departs") -> StepResult:
    return execute(
        StepRequest(
            step="ingest_capture",
            id="i",
            pipeline="demo",
            run_id=run,
            refresh=run,
            lake=lake,
            config={"endpoint": "flight-delays", "time": time},
        )
    )


def capture(lake: str, replica: str, columns: dict, answers=(0.25, 0.5)) -> None:
    kept = Capture(Documents(lake), "flight-delays", replica, every=0)
    kept.add(
        Captured(
            {
                name: np.array(values, dtype=object if isinstance(values[0], str) else None)
                for name, values in columns.items()
            },
            np.array(answers),
            "a" * 64,
            "stable",
            1,
            "r",
            datetime(2024, 1, 1, tzinfo=UTC),
        )
    )
    kept.close(lambda: True)


def rows(lake: str) -> list[dict]:
    return (
        Lake(lake)
        .table("demo/flight_delays_requests")
        .snapshot()
        .to_arrow()
        .sort_by([("_source", "ascending"), ("_position", "ascending"), ("_row", "ascending")])
        .to_pylist()
    )


def test_nothing_captured_is_an_empty_table(lake):
    assert ingest(lake, "r1").metrics == {"rows": 0, "segments": 0}
    assert rows(lake) == []


def test_each_row_once_from_every_replica_with_times_as_times(lake):
    capture(lake, "one", {"hour": [1.0, 2.0], "departs": ["2013-06-01T05:00:00+00:00", "2013-06-02 06:00:00"]})
    capture(lake, "two", {"hour": [3.0, 4.0], "departs": ["not a time", "2013-06-03T05:00:00Z"], "id": ["x", "y"]})
    assert ingest(lake, "r1").metrics == {"rows": 4, "segments": 2}
    assert ingest(lake, "r2").metrics == {"rows": 0, "segments": 0}
    capture(lake, "one", {"hour": [5.0, 6.0], "id": [1, 2]})  # numbers where the table has texts
    assert ingest(lake, "r3").metrics == {"rows": 2, "segments": 1}
    found = rows(lake)
    assert [row["hour"] for row in found] == [1, 2, 5, 6, 3, 4]
    assert [row["departs"] and row["departs"].day for row in found] == [1, 2, None, None, None, 3]
    assert [row["id"] for row in found] == [None, None, "1", "2", "x", "y"]
    assert {row["_source"] for row in found} == {"flight-delays/one", "flight-delays/two"}


def test_a_kill_after_a_commit_takes_nothing_twice(lake, monkeypatch):
    capture(lake, "one", {"hour": [1.0, 2.0]})
    capture(lake, "two", {"hour": [3.0, 4.0]})
    commit, done = Table.commit, []

    def once(self, *args, **kwargs):
        if done:
            raise KeyboardInterrupt
        done.append(commit(self, *args, **kwargs))
        return done[0]

    monkeypatch.setattr(Table, "commit", once)
    with pytest.raises(KeyboardInterrupt):
        ingest(lake, "r1")
    monkeypatch.undo()
    assert ingest(lake, "r1").metrics == {"rows": 2, "segments": 1}
    assert [row["hour"] for row in rows(lake)] == [1, 2, 3, 4]


def test_answers_by_class_are_lists(lake):
    capture(lake, "one", {"hour": [1.0, 2.0]}, answers=((0.25, 0.75), (0.5, 0.5)))
    assert ingest(lake, "r1", None).metrics["rows"] == 2
    assert rows(lake)[0]["_prediction"] == [0.25, 0.75]

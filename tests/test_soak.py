"""The soak, in short: killed at the narrowest points, with a broker and a store that go away once."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.soak.__main__ import soak
from bench.soak.points import CALLS, POINTS

POINTS_HERE = ("before stage", "after stage", "before quarantine", "before log", "after log", "before report")


def test_every_point_is_one_that_there_is() -> None:
    import importlib

    for module, path in CALLS.values():
        owner = importlib.import_module(module)
        for part in path.split("."):
            owner = getattr(owner, part)
        assert callable(owner)
    assert set(POINTS_HERE) < set(POINTS)


@pytest.mark.server
def test_what_was_committed_is_there_once(tmp_path: Path) -> None:
    found = soak(tmp_path, kills=10, interruptions=1, points=POINTS_HERE)
    assert found["amiss"] == []
    assert found["away"] == {"broker": 1, "store": 1}
    assert found["kills"] >= 10
    assert found["messages"]["good"] > 100
    assert found["messages"]["aborted"] > 0
    assert found["lake"]["verify_exit_code"] == 0
    assert found["lake"]["gaps_of_transactions"] > 0
    assert found["objects"]["versions"] > 5

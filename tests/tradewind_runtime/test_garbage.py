"""Cycles are looked for seldom while objects are made by the million, and as ever afterwards."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from tests.tradewind_runtime.sources.project import Project, objects

from tradewind_runtime.garbage import OBJECTS, seldom_collected
from tradewind_runtime.sources.files import FileRows


class Held:
    """Something that the collector counts."""


def test_as_many_as_a_batch_has_are_not_looked_through() -> None:
    before, runs = gc.get_threshold(), []
    gc.callbacks.append(lambda phase, _info: runs.append(phase))
    try:
        with seldom_collected():
            held = [Held() for _ in range(OBJECTS // 4)]
            seen = len(runs)
    finally:
        gc.callbacks.pop()
    assert (len(held), seen) == (OBJECTS // 4, 0)
    assert gc.get_threshold() == before


def test_an_error_leaves_nothing_behind() -> None:
    before = gc.get_threshold()
    with pytest.raises(OSError, match="broken"), seldom_collected():
        raise OSError("broken")
    assert gc.get_threshold() == before


def test_a_source_is_read_so(tmp_path: Path, lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, parts = [], FileRows.parts

    def noted(these: FileRows) -> Any:
        seen.append(gc.get_threshold()[0])
        return parts(these)

    monkeypatch.setattr(FileRows, "parts", noted)
    project = Project(tmp_path / "project", lake_uri)
    project.write("in/a.csv", "n\n1\n")
    project.ingest(objects("in/*.csv", columns={"n": "long"}))
    assert (seen, project.column()) == ([OBJECTS], [1])

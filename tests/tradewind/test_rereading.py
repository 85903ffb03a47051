"""How often the DAG processor reads a file after a callback."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager, DagFileStat

from tradewind import rereading


def test_a_callback_does_not_have_its_file_read_over_and_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.py").touch()
    file = DagFileInfo(rel_path=Path("p.py"), bundle_name="pipelines", bundle_path=tmp_path)

    def queued() -> list[DagFileInfo]:
        manager = DagFileProcessorManager(max_runs=-1)
        manager._file_stats[file] = DagFileStat(last_finish_time=datetime.now(UTC), run_count=1)
        manager._file_stats[replace(file, bundle_version="1")] = DagFileStat(run_count=1)  # as a callback leaves it
        manager.prepare_file_queue(known_files={"pipelines": {file}})
        return list(manager._file_queue)

    monkeypatch.setattr(DagFileProcessorManager, "prepare_file_queue", rereading._PREPARE)
    assert queued() == [file], "Airflow has mended it: `tradewind.rereading` can go"
    rereading.prevent()
    assert queued() == []

"""Airflow's DAG processor reads a file over and over once a callback of one of its runs has come; not with this.

For a callback it keeps a second entry of the file, with the run's version, which it then takes for the file's own and
which no reading renews (apache/airflow#73432). Each failed run of a pipeline with `alerts:` would cost a core.
"""

from __future__ import annotations

from typing import Any

from airflow.dag_processing.manager import DagFileProcessorManager

_PREPARE = DagFileProcessorManager.prepare_file_queue


def _prepare_file_queue(self: DagFileProcessorManager, *args: Any, **kwargs: Any) -> None:
    for file in [file for file in self._file_stats if file.bundle_version is not None]:
        del self._file_stats[file]
    _PREPARE(self, *args, **kwargs)


def prevent() -> None:
    """In this process."""
    DagFileProcessorManager.prepare_file_queue = _prepare_file_queue  # type: ignore[method-assign]

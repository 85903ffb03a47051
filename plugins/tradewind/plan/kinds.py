"""What each kind of step can do: where its process may start, and how it may compute. One line a kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

RunnerName = Literal["process", "kubernetes"]


@dataclass(frozen=True)
class Kind:
    """The runners and engines that a kind works on."""

    runners: tuple[RunnerName, ...] = ("process", "kubernetes")
    engines: tuple[str, ...] = ("python",)


_COMPUTES = Kind()
#: Its task asks Airflow itself, waits in deferral or only writes a document: it has no pod.
_CONTROLS = Kind(runners=("process",))

KINDS: Mapping[str, Kind] = {
    "pin": _CONTROLS,
    "ingest": Kind(engines=("python", "spark")),
    "check": Kind(engines=("python", "spark")),
    "transform": Kind(engines=("python", "duckdb", "spark", "beam")),
    "tune": _COMPUTES,
    "train": _COMPUTES,
    "evaluate": _COMPUTES,
    "register": _COMPUTES,
    "select": _CONTROLS,
    "approve": _CONTROLS,
    "serve": _CONTROLS,  # only where endpoints have servers of their own
    "stage": _CONTROLS,
    "replay": _COMPUTES,  # by the task of its stage, or in a pod that this one starts
    "promote": _COMPUTES,
    "score": _COMPUTES,
    "ingest_capture": _COMPUTES,
    "monitor": _COMPUTES,
    "maintain": _COMPUTES,
    "request_retraining": _COMPUTES,
    "notify": _CONTROLS,
    "release": _CONTROLS,
}

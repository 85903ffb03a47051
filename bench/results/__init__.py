"""Raw results, one JSON a benchmark, each with the machine that it was taken on, its load and the date."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Asked when a benchmark begins, since it makes load of its own.
LOAD = os.getloadavg()[0]


def machine() -> dict[str, Any]:
    """Where and when, and under which load."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "airflow": _airflow(),
        "load": LOAD,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write(name: str, body: dict[str, Any]) -> Path:
    """Keep a benchmark's figures beside this file."""
    path = _path(name)
    path.write_text(json.dumps({"machine": machine(), **body}, indent=1) + "\n")
    return path


def among(before: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Cases that were measured now among those of before; each says where and when."""
    taken = {**before.get("taken", {}), **dict.fromkeys(found, machine())}
    return {"taken": taken, "cases": {**before.get("cases", {}), **found}}


def read(name: str) -> dict[str, Any]:
    """What was kept before, without the machine, which each `write` tells anew; nothing where nothing was."""
    path = _path(name)
    before: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return {part: value for part, value in before.items() if part != "machine"}


def _path(name: str) -> Path:
    return Path(__file__).parent / f"{name}.json"


def _airflow() -> str | None:
    """None in an environment of steps."""
    try:
        return version("apache-airflow")
    except PackageNotFoundError:
        return None

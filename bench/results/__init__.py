"""Raw results, one JSON a benchmark, each with the machine that it was taken on, its load and the date."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Asked when a benchmark begins, since it makes load of its own.
LOAD = os.getloadavg()[0]


def write(name: str, body: dict[str, Any]) -> Path:
    """Keep a benchmark's figures beside this file."""
    machine = {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "airflow": _airflow(),
        "load": LOAD,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps({"machine": machine, **body}, indent=1) + "\n")
    return path


def _airflow() -> str | None:
    """None in an environment of steps."""
    try:
        return version("apache-airflow")
    except PackageNotFoundError:
        return None

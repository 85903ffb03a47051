"""Spark's own log of a job's events, in the lake, where Spark's history server reads it."""

from __future__ import annotations

from urllib.parse import quote

from tradewind_runtime.engines.spark.tables import uri
from tradewind_runtime.lake import Lake

FOLDER = "spark-events"


def options(lake: Lake) -> dict[str, str]:
    """Spark writes a folder for each application, and asks that theirs be there."""
    lake.documents.put(f"{FOLDER}/.keep", b"")
    root = lake.root if lake.root.startswith("file:") else quote(lake.root, safe=":/")  # it wants a URI
    return {"spark.eventLog.enabled": "true", "spark.eventLog.dir": uri(f"{root}/{FOLDER}")}

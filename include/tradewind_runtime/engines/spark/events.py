"""Spark's own log of a job's events, in the lake, and the page of Spark's history server that shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pyspark.sql import SparkSession

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark.tables import uri
from tradewind_runtime.lake import Lake

FOLDER = "spark-events"
_ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")  # nobody's password: whoever sees the task sees the link


def options(lake: Lake) -> dict[str, str]:
    """Spark writes a folder for each application, and asks that theirs be there."""
    lake.documents.put(f"{FOLDER}/.keep", b"")
    root = lake.root if lake.root.startswith("file:") else quote(lake.root, safe=":/")  # it wants a URI
    return {"spark.eventLog.enabled": "true", "spark.eventLog.dir": uri(f"{root}/{FOLDER}")}


def history(settings: Mapping[str, Any]) -> str | None:
    """The address of Spark's history server, where the profile has one.

    Raises:
        StepError: TW546 where it is none.
    """
    if (given := settings.get("history")) is None:
        return None
    if not _ADDRESS.fullmatch(str(given)):
        raise StepError(
            "TW546", "settings.spark.history is no address of a history server", retryable=False, got=given,
            expected="https://HOST, with port and path where it has them", path="settings.spark.history",
        )  # fmt: skip
    return str(given).rstrip("/")


def kept(spark: SparkSession) -> str | None:
    """Where a Spark writes its log of events; None where it keeps none."""
    if spark.conf.get("spark.eventLog.enabled", "false") != "true":
        return None
    folder = str(spark.conf.get("spark.eventLog.dir")).rstrip("/")
    if spark.conf.get("spark.eventLog.rolling.enabled", "true") != "true":  # a file, whose name is Spark's own affair
        return folder
    return f"{folder}/eventlog_v2_{spark.conf.get('spark.app.id')}"

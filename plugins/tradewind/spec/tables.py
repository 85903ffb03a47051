"""The tables that a pipeline has, and what says how old a row of each is."""

from __future__ import annotations

from collections.abc import Mapping

from tradewind.spec.pipeline import Pipeline
from tradewind_runtime.contract.monitor import table_name
from tradewind_runtime.contract.sources import Source

#: Columns of times in tables whose columns are always the same: the first says how old a row is.
QUARANTINE = ("ingested", "time")
CHECKS = ("time", "window_start", "window_end")


def of_source(name: str, source: Source | None) -> dict[str, str | None]:
    """A source's tables, with the column of each; None where the source is not known."""
    by = source.time or "_ingested" if source else None
    return {f"{name}_raw": by, name: by, f"{name}_quarantine": QUARANTINE[0]}


def tables(spec: Pipeline) -> Mapping[str, str | None]:
    """Every table of a pipeline, with the column of times that rows are kept by; None where the YAML must name it."""
    found: dict[str, str | None] = {}
    for name, source in spec.sources.items():
        found |= of_source(name, source)
    if spec.train or spec.transform:
        found["features"] = spec.split.time
    if spec.checks:
        found["checks"] = CHECKS[0]
    if spec.score:
        found[spec.score.output] = spec.split.time
    if spec.monitor and spec.promote:
        found[table_name(spec.promote.model)] = spec.monitor.time or "_time"
    return found

"""Delta's statistics of a file, from the Parquet footer: rows, nulls, lowest and highest by column."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow.parquet as pq

LONGEST = 64  # characters of a text that is worth a place in the log


def stats(metadata: pq.FileMetaData) -> str:
    """What the table's log says of a file, as JSON; columns with no sound bounds have none."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index in range(metadata.num_columns):
        name = metadata.schema.column(index).path
        if "." in name:  # within a struct or a list
            continue
        found = [metadata.row_group(group).column(index).statistics for group in range(metadata.num_row_groups)]
        if all(stat is not None and stat.has_null_count for stat in found):
            nulls[name] = sum(stat.null_count for stat in found)
        if (bounds := _bounds(found)) is not None:
            low[name], high[name] = bounds
    return json.dumps({"numRecords": metadata.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def _bounds(found: Sequence[Any]) -> tuple[Any, Any] | None:
    """Of all row groups; None where one of them that has values does not say."""
    if any(stat is None or (stat.num_values and not stat.has_min_max) for stat in found):
        return None
    ranged = [stat for stat in found if stat.has_min_max]
    if not ranged:
        return None
    low, high = _json(min(stat.min for stat in ranged)), _json(max(stat.max for stat in ranged))
    return None if low is None or high is None else (low, high)


def _json(value: Any) -> Any:
    """A bound as Delta writes it, or None for a type that has none there."""
    if isinstance(value, bool | bytes):
        return None
    if isinstance(value, datetime):
        precision = "milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
        moment = value if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat(timespec=precision).replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= LONGEST else None
    return value if isinstance(value, int) else None

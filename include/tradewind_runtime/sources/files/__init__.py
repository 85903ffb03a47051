"""Files to typed rows, streamed, compressed or not: one module a format.

A new format is one module here, with `opened`, one line of `FORMATS` and its name in contract/sources.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources.files.base import (
    BROKEN,
    Blocks,
    Dialect,
    FileRows,
    Origin,
    bearable,
    guarded,
    unreadable,
)
from tradewind_runtime.sources.newcolumns import Columns

__all__ = ["FORMATS", "Blocks", "Dialect", "FileRows", "Origin", "open_rows"]

#: The end of a name → the format, which is a module here.
FORMATS: Mapping[str, str] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".avro": "avro",
}


class Format(Protocol):
    """What a module of this package offers."""

    #: How a refused row is kept: csv or json.
    CONTENTS: str

    def opened(self, path: Path, rows: FileRows) -> Blocks:
        """A file's blocks; when it returns, `rows.columns` are settled."""


def open_rows(
    path: Path,
    kind: str,
    columns: Columns,
    *,
    dialect: Dialect,
    origin: Origin,
    bad: list[Bad] | None = None,
) -> FileRows:
    """A file's rows, of the columns that the YAML names, or else of those that the table and the file have.

    Args:
        path: the file, whose name ends as its compression wants.
        kind: its format.
        columns: what is known of them by now; the file may add to them.
        dialect: of a CSV.
        origin: where its rows come from.
        bad: where its refused rows go; a list of its own by default.

    Raises:
        StepError: TW527 where the file as a whole cannot be read.
    """
    module = cast("Format", importlib.import_module(f"tradewind_runtime.sources.files.{kind}"))
    rows = FileRows(columns, origin, iter(()), module.CONTENTS, [] if bad is None else bad, dialect=dialect)
    try:
        found = module.opened(path, rows)
    except BROKEN as error:
        raise unreadable(origin, error) from error
    bearable(rows.columns.schema.names, origin)
    rows.raw = guarded(found, origin)
    return rows

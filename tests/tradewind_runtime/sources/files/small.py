"""Files with given contents, opened; and what they give, each by itself or all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources.columns import known
from tradewind_runtime.sources.files import Dialect, FileRows, Origin, open_rows
from tradewind_runtime.sources.files.base import Part, at_once, typed
from tradewind_runtime.sources.newcolumns import Columns


def opened(folder: Path, contents: Sequence[str | bytes], columns: Mapping[str, str], kind: str) -> list[FileRows]:
    """Files with these contents, each with a list of its own for what is refused."""
    source = Source.model_validate({"objects": {"uri": f"{folder.as_uri()}/*.{kind}"}, "columns": columns})
    found = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.{kind}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        have = Columns.of(source, known(source, None))
        found.append(open_rows(path, kind, have, dialect=Dialect(("",)), origin=Origin(path.name, f"id{number}", 1)))
    return found


def rows_of(parts: Sequence[Part]) -> list[dict[str, Any]]:
    rows = [row for part in parts for row in typed([part]).to_pylist()]
    return [{name: value for name, value in row.items() if name != "_ingested"} for row in rows]


def refused_of(files: Sequence[FileRows]) -> list[tuple[str, int, str, bytes]]:
    return [(bad.source, bad.position, bad.reason, bad.content) for file in files for bad in file.bad]


def one_by_one(files: Sequence[FileRows]) -> list[dict[str, Any]]:
    return rows_of([part for file in files for part in file.parts()])


def as_a_step(files: Sequence[FileRows]) -> list[dict[str, Any]]:
    """At once where that can be."""
    parts = at_once(files)
    return one_by_one(files) if parts is None else rows_of(parts)

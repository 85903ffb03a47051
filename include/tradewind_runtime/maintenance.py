"""Upkeep of tables: small files are put together, and files go that no version which counts has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from deltalake.exceptions import DeltaError

from tradewind_runtime import compaction
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.documents import Documents
from tradewind_runtime.lake import Lake
from tradewind_runtime.steps.check import POSITION


class Compacted(Frozen):
    """What became of a table's small files."""

    table: str
    files: int  # that gave way
    left: int  # that the table has now


class Vacuumed(Frozen):
    """What was deleted of a table, or would be."""

    table: str
    files: int
    pinned: tuple[int, ...]  # versions that models or runs stand on


def compact(lake: Lake, name: str) -> Compacted:
    """Put a table's small files together; of a raw one those alone that its checks have seen."""
    table = lake.table(name)
    until = table.snapshot().version
    if name.endswith("_raw"):
        until = lake.table(name.removesuffix("_raw")).position(POSITION) or 0
    return Compacted(table=name, files=compaction.compact(table, until), left=len(table.snapshot().files))


def vacuum(lake: Lake, name: str, *, days: float, dry_run: bool) -> Vacuumed:
    """Delete files that were replaced more than some days ago, and those that a killed writer has left."""
    table = lake.table(name)
    kept = {version for version in pinned(lake.documents, name) if _there(lake, name, version)}
    found = table.vacuum(days, kept, dry_run=dry_run)
    return Vacuumed(table=name, files=len(found), pinned=tuple(sorted(kept)))


def pinned(documents: Documents, name: str) -> set[int]:
    """Versions of a table that a run stands on whose model was registered, or which holds a lease."""
    held = set(_held(documents))
    found: dict[str, list[str]] = {}
    for path in documents.names("runs"):
        _, pipeline, run, *_ = path.split("/")
        found.setdefault(f"{pipeline}/{run}", []).append(path)
    versions: set[int] = set()
    for folder, paths in found.items():
        run = folder.partition("/")[2]
        if f"runs/{folder}/results/register" in paths or any(run.endswith(_safe(one)) for one in held):
            for path in paths:
                versions |= set(_versions(_body(documents, path), name))
    return versions


def _safe(run: str) -> str:
    """A run's name as a folder has it."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", run)


def _held(documents: Documents) -> Iterator[str]:
    """Runs that hold a lease now."""
    newest: dict[str, str] = {}
    for path in sorted(documents.names("leases")):
        lease, _, last = path.rpartition("/")
        newest[lease] = "" if last.endswith(".released.json") else path
    for path in filter(None, newest.values()):
        yield str((_body(documents, path) or {}).get("run"))


def _body(documents: Documents, path: str) -> Any:
    """A document's JSON; a result is named by what lies among the run's."""
    content = documents.get(path) or b"null"
    if "/results/" in path and not content.lstrip().startswith(b"{"):
        content = documents.get(content.decode()) or b"null"
    try:
        return json.loads(content)
    except ValueError:
        return None


def _versions(body: Any, name: str) -> Iterator[int]:
    """Of a table, wherever a document names one: as a reference, or among a run's pins."""
    if isinstance(body, dict):
        if body.get("table") == name and isinstance(body.get("version"), int):
            yield body["version"]
        tables = body.get("tables")
        if isinstance(tables, dict) and isinstance(tables.get(name), int):
            yield tables[name]
    for inner in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from _versions(inner, name)


def _there(lake: Lake, name: str, version: int) -> bool:
    """Whether a version can still be read of the log."""
    try:
        lake.table(name).snapshot(version)
    except DeltaError:
        return False
    return True

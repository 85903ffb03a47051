"""Upkeep of tables: small files are put together, and files go that no version which counts has."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from deltalake.exceptions import DeltaError

from tradewind_runtime import compaction, gone, leases
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.pins import safe_run
from tradewind_runtime.documents import Documents
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.steps.check import POSITION

Pins = Mapping[str, set[int]]


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


def vacuum(lake: Lake, name: str, pins: Pins, *, days: float, dry_run: bool) -> Vacuumed:
    """Delete files that were replaced more than some days ago, and those that a killed writer has left."""
    table = lake.table(name)
    kept = {version for version in pins.get(name, ()) if _there(lake, name, version)}
    found = table.vacuum(days, kept, dry_run=True)
    if found and not dry_run:
        _tell(lake, table, found, kept)
        told, found = set(found), table.vacuum(days, kept, dry_run=False)
        if more := set(found) - told:
            _tell(lake, table, more, kept)
    return Vacuumed(table=name, files=len(found), pinned=tuple(sorted(kept)))


def _tell(lake: Lake, table: Table, files: Collection[str], kept: Collection[int]) -> None:
    """Say which versions have lost files, or are about to; the first time also those that may have lost some before."""
    before = gone.of(lake.documents, table.name)
    if before is None:
        last = max((commit.version for commit in table.history() if commit.vacuumed), default=0)
        spans = [(version, version + 1) for version in range(last) if version not in kept]
    else:
        spans = []
    # What an earlier one has told from the first version on need not be read again.
    since = before.spans[0][1] if before and before.spans and before.spans[0][0] <= 1 else 0
    gone.tell(lake.documents, table.name, [*spans, *table.lifetimes(files, since)])


def pinned(documents: Documents) -> Pins:
    """Versions that a run stands on whose model was registered, or which holds a lease; by the table's name."""
    held = {safe_run(lease.run) for lease in leases.held(documents)}
    runs: defaultdict[str, list[str]] = defaultdict(list)
    for path in documents.names("runs"):
        _, pipeline, run, *_ = path.split("/")
        runs[f"{pipeline}/{run}"].append(path)
    found: defaultdict[str, set[int]] = defaultdict(set)
    for folder, paths in runs.items():
        # A flow's name may stand before the run's.
        if f"runs/{folder}/results/register" in paths or any(folder.endswith(run) for run in held):
            for path in paths:
                for table, version in _versions(_body(documents, path)):
                    found[table].add(version)
    return found


def _body(documents: Documents, path: str) -> Any:
    """A document's JSON; a result is named by what lies among the run's."""
    content = documents.get(path) or b"null"
    if "/results/" in path and not content.lstrip().startswith(b"{"):
        content = documents.get(content.decode()) or b"null"
    try:
        return json.loads(content)
    except ValueError:
        return None


def _versions(body: Any) -> Iterator[tuple[str, int]]:
    """Tables with a version, wherever a document names one: as a reference, or among a run's pins."""
    if isinstance(body, dict):
        named = [(body.get("table"), body.get("version"))]
        named += list(body["tables"].items()) if isinstance(body.get("tables"), dict) else []
        yield from ((table, version) for table, version in named if isinstance(table, str) and isinstance(version, int))
    for inner in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from _versions(inner)


def _there(lake: Lake, name: str, version: int) -> bool:
    """Whether a version can still be read of the log."""
    try:
        lake.table(name).snapshot(version)
    except (DeltaError, StepError):  # or in a way that nobody here can
        return False
    return True

"""Small files of a table that are put together: no row changes, and readers of older versions notice nothing."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa

from tradewind_runtime.lake import Change, Table, added, arrow_schema, removed

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

SMALL = 32 * 1024 * 1024  # bytes: larger files stay as they are
LARGE = 128 * 1024 * 1024  # no more is put together

_DAY = re.compile(r"(\d{4}-\d\d-\d\d)-\d+\.parquet")


def compact(table: Table, until: int) -> int:
    """Put small files together, each day's for itself; how many files gave way.

    Args:
        table: any.
        until: only files that this version has.
    """
    count = 0

    def compacted(handle: DeltaTable) -> Change | None:
        nonlocal count
        have, schema = set(table.snapshot(until).files), arrow_schema(handle)
        found = {table.absolute(row["path"]): row for row in pa.table(handle.get_add_actions(flatten=True)).to_pylist()}
        groups = list(small_ones({path: row["size_bytes"] for path, row in found.items() if path in have}))
        count = sum(map(len, groups))
        actions: list[AddAction | RemoveAction] = []
        for group in groups:
            actions.append(added(table.merged(handle, group, schema, cut_of(group[0])), changes=False))
            actions += [removed(found[path], changes=False) for path in group]
        return Change(actions, {"compacted": count}) if groups else None

    table.change(compacted)
    return count


def unchanged(table: Table, files: Collection[str], after: int, upto: int) -> set[str]:
    """The files of a version as compactions have put them together until another one.

    Args:
        table: any.
        files: those of the version `after`.
        after: a version.
        upto: a later one.
    """
    found = set(files)
    for commit in sorted(table.history(upto, upto - after), key=lambda commit: commit["version"]):
        version = int(commit["version"])
        if version > after and "compacted" in json.loads(commit.get("tradewind") or "{}"):
            earlier, later = (set(table.snapshot(one).files) for one in (version - 1, version))
            found = (found | (later - earlier)) - (earlier - later)
    return found


def cut_of(path: str) -> str:
    """The date that all rows of a file have, by its name; `part` where it was cut by none."""
    found = _DAY.fullmatch(PurePosixPath(path).name)
    return found[1] if found else "part"


def small_ones(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Groups of small files of one date each, in their order.

    Args:
        sizes: path → bytes.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    filled: defaultdict[str, int] = defaultdict(int)
    for path, size in sizes.items():
        if size >= SMALL:
            continue
        cut = cut_of(path)
        if filled[cut] + size > LARGE:
            yield from _many(groups.pop(cut))
            filled[cut] = 0
        groups[cut].append(path)
        filled[cut] += size
    for group in groups.values():
        yield from _many(group)


def _many(group: list[str]) -> Iterator[list[str]]:
    if len(group) > 1:
        yield group

"""Small files of a table that are put together: no row changes, and readers of older versions notice nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from tradewind_runtime.lake import Rewriting, Table
from tradewind_runtime.staging import cut_of

if TYPE_CHECKING:
    from deltalake import DeltaTable

SMALL = 32 * 1024 * 1024  # bytes: larger files stay as they are
LARGE = 128 * 1024 * 1024  # no more is put together
AT_ONCE = 16  # groups of a commit: what is done when a step is killed stays done


def compact(table: Table, until: int) -> int:
    """Put small files together, each day's for itself; how many files gave way.

    Args:
        table: any.
        until: only files that this version has.
    """
    have = set(table.snapshot(until).files)

    def choose(handle: DeltaTable) -> Rewriting | None:
        sizes = {path: int(row["size_bytes"]) for path, row in table.entries(handle).items() if path in have}
        groups = list(islice(small_ones(sizes), AT_ONCE))
        return Rewriting(groups, {"compacted": sum(map(len, groups))}) if groups else None

    files = 0
    while (done := table.rewrite(choose)) is not None:
        files += int(done.told["compacted"])
    return files


def still_there(table: Table, files: Collection[str], commits: Iterable[Mapping[str, Any]]) -> set[str]:
    """The files of a version, or those that were written again of them alone until another one.

    Those that retention has taken away are left out: that they are gone says nothing of the others.

    Args:
        table: any.
        files: those of the one version.
        commits: what those up to the other one told.
    """
    found = set(files)
    for told in commits:
        found -= {f"{table.uri}/{path}" for path in told.get("gone", ())}
        for new, old in told.get("files", {}).items():
            sources = {f"{table.uri}/{path}" for path in old}
            if sources <= found:
                found = found - sources | {f"{table.uri}/{new}"}
    return found


def followed(table: Table, rows: Mapping[str, int], commits: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows of a version are in which file of another one, also where they were put together with later ones.

    Args:
        table: any.
        rows: file → rows of the one version.
        commits: what those up to the other one told.
    """
    found = dict(rows)
    for told in commits:
        for path in told.get("gone", ()):
            found.pop(f"{table.uri}/{path}", None)
        for new, old in told.get("files", {}).items():
            moved = sum(found.pop(f"{table.uri}/{path}", 0) for path in old)
            # Of rows of both kinds in one file those that went are taken for those that were there first.
            went = sum(told.get("went", {}).get(path, 0) for path in old)
            if moved > went:
                found[f"{table.uri}/{new}"] = moved - went
    return found


def between(table: Table, after: int, upto: int) -> Iterator[Mapping[str, Any]]:
    """What commits were told, oldest first."""
    return (commit.told for commit in table.commits(after, upto))


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

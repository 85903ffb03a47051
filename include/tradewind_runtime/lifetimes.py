"""From which version of a table up to which it had some files, as its log tells."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pyarrow.fs as pafs

THREADS = 8  # commits that are read at once: a store takes its time for each

Moved = tuple[set[str], set[str]]  # files that came with a commit, and those that went


def lifetimes(
    filesystem: pafs.FileSystem, log: str, versions: range, files: Collection[str]
) -> Iterator[tuple[int, int]]:
    """Of each file that went, the version with which it came and the one with which it went.

    Args:
        filesystem: Arrow's view of the store that holds the table.
        log: its log's folder.
        versions: those that are looked at; a file that was there before came with the first.
        files: their paths, relative to the table; those that no commit has are left out.
    """
    wanted, came = {unquote(path) for path in files}, dict[str, int]()
    with ThreadPoolExecutor(THREADS, "log") as pool:
        commits = pool.map(lambda version: _commit(filesystem, f"{log}/{version:020}.json"), versions)
        for version, (added, removed) in zip(versions, commits, strict=True):
            for path in removed & wanted:
                yield came.pop(path, versions[0]), version
            came |= dict.fromkeys(added & wanted, version)


def _commit(filesystem: pafs.FileSystem, path: str) -> Moved:
    """Nothing of a commit that the log keeps no longer."""
    moved: Moved = (set(), set())
    try:
        with filesystem.open_input_stream(path) as file:
            lines = bytes(file.read()).decode().split("\n")
    except FileNotFoundError:
        return moved
    for paths, kind in zip(moved, ("add", "remove"), strict=True):
        found = (json.loads(line)[kind]["path"] for line in lines if line.startswith(f'{{"{kind}"'))
        paths.update(map(unquote, found))
    return moved

"""Positions of sources: a table's log is read once for all, and then on, where delta-rs reads it again for each."""

from __future__ import annotations

import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from deltalake import DeltaTable

AT_ONCE = 16  # commits that are on their way: a store takes its time for each


@dataclass
class Positions:
    """Those of a table, whose log is read on from where it was read before.

    Args:
        filesystem: Arrow's view of the store that holds the table.
        log: its log's folder.
    """

    filesystem: pafs.FileSystem
    log: str
    next: int = 0  # the first version that is not read yet
    found: dict[str, int] = field(default_factory=dict)
    last: tuple[int | None, int | None] | None = None

    def of(self, handle: DeltaTable, ids: Collection[str]) -> dict[str, int | None]:
        """What a version has of each source, by its transaction's id."""
        found = self.upto(handle.version()) if ids else {}
        if found is None:
            return {id: handle.transaction_version(id) for id in ids}
        return {id: found.get(id) for id in ids}

    def upto(self, version: int) -> dict[str, int] | None:
        """All that a version has; None where its log is not of the plain form."""
        if version + 1 < self.next:
            return Positions(self.filesystem, self.log).upto(version)
        try:
            if not self.next or self.last != self._last():  # nothing is read yet, or the table was made again
                self.next, self.found = _checkpoint(self.filesystem, self.log, version)
            if self.next <= version:
                self._read_on(version)
            self.last = self._last()
        except (FileNotFoundError, KeyError):
            return None
        return self.found

    def _read_on(self, version: int) -> None:
        """Read the commits that are not read yet, up to a version."""
        new = range(self.next, version + 1)
        with ThreadPoolExecutor(min(AT_ONCE, len(new)), "positions") as pool:
            for moved in pool.map(partial(_commit, self.filesystem, self.log), new):
                self.found |= moved
                self.next += 1

    def _last(self) -> tuple[int | None, int | None]:
        """What tells the newest commit that was read from another of its number."""
        info = self.filesystem.get_file_info(_path(self.log, self.next - 1))
        return info.size, info.mtime_ns


def _commit(filesystem: pafs.FileSystem, log: str, version: int) -> dict[str, int]:
    """What one version has moved."""
    lines = _read(filesystem, _path(log, version)).decode().split("\n")
    moved = [json.loads(line)["txn"] for line in lines if line.startswith('{"txn"')]
    return {action["appId"]: action["version"] for action in moved}


def _checkpoint(filesystem: pafs.FileSystem, log: str, version: int) -> tuple[int, dict[str, int]]:
    """The version after the newest checkpoint, and what that has.

    Raises:
        FileNotFoundError: where it is a rival's, of a later version.
    """
    try:
        last: dict[str, Any] = json.loads(_read(filesystem, f"{log}/_last_checkpoint"))
    except FileNotFoundError:
        return 0, {}
    if last["version"] > version:
        raise FileNotFoundError(log)
    path = f"{log}/{last['version']:020}.checkpoint.parquet"
    rows = pq.read_table(path, columns=["txn"], filesystem=filesystem)["txn"].drop_null()
    names, versions = (pc.struct_field(rows, name).to_pylist() for name in ("appId", "version"))
    return last["version"] + 1, {name: at for name, at in zip(names, versions, strict=True) if name is not None}


def _path(log: str, version: int) -> str:
    return f"{log}/{version:020}.json"


def _read(filesystem: pafs.FileSystem, path: str) -> bytes:
    with filesystem.open_input_stream(path) as file:
        return bytes(file.read())

"""Positions of many sources at once: a table's log is read for all, where delta-rs reads it for each."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from deltalake import DeltaTable

FEW = 16  # so many are asked of delta-rs


def committed(handle: DeltaTable, ids: Collection[str], filesystem: pafs.FileSystem, uri: str) -> dict[str, int | None]:
    """What a version of a table has of each.

    Args:
        handle: that version.
        ids: transaction ids.
        filesystem: Arrow's view of the store that holds the table.
        uri: the table's.
    """
    found = _all(filesystem, f"{uri.removeprefix('s3://')}/_delta_log", handle.version()) if len(ids) > FEW else None
    if found is None:
        return {id: handle.transaction_version(id) for id in ids}
    return {id: found.get(id) for id in ids}


def _all(filesystem: pafs.FileSystem, log: str, version: int) -> dict[str, int] | None:
    """All that a version has; None where its log is not of the plain form."""
    try:
        start, found = _checkpoint(filesystem, log)
        if start > version + 1:  # a rival's, of a later version
            return None
        for number in range(start, version + 1):
            for line in _read(filesystem, f"{log}/{number:020}.json").splitlines():
                if line.startswith(b'{"txn"'):
                    action = json.loads(line)["txn"]
                    found[action["appId"]] = action["version"]
    except (FileNotFoundError, KeyError):
        return None
    return found


def _checkpoint(filesystem: pafs.FileSystem, log: str) -> tuple[int, dict[str, int]]:
    """The newest checkpoint's, and the version after it."""
    try:
        last: dict[str, Any] = json.loads(_read(filesystem, f"{log}/_last_checkpoint"))
    except FileNotFoundError:
        return 0, {}
    path = f"{log}/{last['version']:020}.checkpoint.parquet"
    rows = pq.read_table(path, columns=["txn"], filesystem=filesystem)["txn"].drop_null()
    names, versions = (pc.struct_field(rows, name).to_pylist() for name in ("appId", "version"))
    return last["version"] + 1, {name: at for name, at in zip(names, versions, strict=True) if name is not None}


def _read(filesystem: pafs.FileSystem, path: str) -> bytes:
    with filesystem.open_input_stream(path) as file:
        return bytes(file.read())

"""What a commit to a table's log is made of, and what is read of a version of it. Only `lake` commits."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction, RemoveAction

from tradewind_runtime.staging import Staged

#: Features of a table that change nothing of how its rows are read, or that delta-rs sees to.
HARMLESS = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}


def arrow_schema(table: DeltaTable) -> pa.Schema:
    """A version's columns."""
    return pa.schema(pa.schema(table.schema().to_arrow()))


def foreign(table: DeltaTable) -> list[str]:
    """What a reader must know of a version and we do not, such as rows that were deleted beside their file."""
    protocol, named = table.protocol(), table.metadata().configuration
    mapped = {"columnMapping"} if named.get("delta.columnMapping.mode", "none") != "none" else set()
    return sorted({*(protocol.reader_features or ())} - {"columnMapping"} - HARMLESS | mapped)


def properties(told: Mapping[str, Any], positions: Sequence[Transaction] = ()) -> CommitProperties:
    """Of a commit that meets every rival, for delta-rs does not try again by itself."""
    return CommitProperties(
        custom_metadata={"tradewind": json.dumps(dict(told), default=str)},
        app_transactions=list(positions),
        max_commit_retries=0,
    )


def add(staged: Staged, *, changes: bool = True) -> AddAction:
    """`changes` is false where its rows were there before."""
    return AddAction(staged.path, staged.size, {}, int(time.time() * 1000), changes, staged.stats)


def remove(row: Mapping[str, Any], *, changes: bool = True) -> RemoveAction:
    """Actions are given names as they are; the log, and what is read of it, has them encoded."""
    return RemoveAction(unquote(row["path"]), changes, int(time.time() * 1000), size=row["size_bytes"])

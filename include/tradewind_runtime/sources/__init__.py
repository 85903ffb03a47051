"""Where rows come from: one module a system, each with `end_position` and `read`.

A new system is one class in `contract/sources.py` and one module here, of the same name.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from tradewind_runtime.history import Advance
    from tradewind_runtime.lake import Lake, Table
    from tradewind_runtime.quarantine import Bad
    from tradewind_runtime.replacing import Replace
    from tradewind_runtime.sources.writing import Written


@dataclass(frozen=True)
class Access:
    """What a source may use besides its own description."""

    lake: Lake
    connection: Connection | None = None
    project: Path | None = None  # paths with no scheme are below it
    window: Window | None = None
    scratch: Path | None = None  # empty, of this attempt only
    registry: Connection | None = None  # of schemas
    schemas: Path | None = None  # the user's folder of schema files
    pinned: str | None = None  # when the run was, as ISO 8601
    chunk_rows: int = 500_000  # about how many rows a commit takes
    left_out: Collection[str] = ()  # objects that are broken, as this attempt has found: it is careful from then on

    def schema_folder(self) -> Path:
        """Where the user's schema files are.

        Raises:
            StepError: TW530 where the step was given none.
        """
        if self.schemas is None:
            raise StepError("TW530", "include/schemas is not in this run's user code", retryable=False)
        return self.schemas


@dataclass(frozen=True)
class Chunk:
    """What is committed at once: rows, and the positions that stand for having read them."""

    schema: pa.Schema  # of the rows, with their provenance
    rows: Iterable[pa.RecordBatch]  # to be read once; reading them fills what follows, where it is not known before
    positions: dict[str, Advance]
    marks: dict[str, int]  # transaction id → what the quarantine has been told once it is told of `bad`
    bad: list[Bad] = field(default_factory=list)
    replace: Replace | str | None = None
    written: Written | None = None  # in the place of `rows`, where other processes have staged them


class BrokenObjectsError(Exception):
    """Some of many objects cannot be read, be it found out in their midst; the others can, without them."""

    def __init__(self, errors: Mapping[str, StepError]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors  # by their keys


class Reader(Protocol):
    """What a module of this package offers."""

    def end_position(self, source: Source, access: Access) -> dict[str, Any]:
        """Where the source ends now, as JSON: a run reads up to there and no further."""

    def read(self, source: Source, access: Access, end: Mapping[str, Any], table: Table) -> Iterator[Chunk]:
        """What lies between the table's positions and `end`, in chunks, each to be committed before the next.

        Raises:
            BrokenObjectsError: once all others are read; also while a chunk's rows are read, nothing of which is then
                to be committed.
        """


def reader(kind: str) -> Reader:
    """The module of a source's kind, imported only now: each brings a client library of its own."""
    return cast("Reader", importlib.import_module(f"tradewind_runtime.sources.{kind}"))

"""Sources that are read in parts, each by another process, be it on another machine: one module a kind of source.

What is committed at once is a `Share`. Its parts say what to read and not what was found, so a part that is read again,
by a second attempt or because a column came up, gives the same rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access, Chunk

if TYPE_CHECKING:
    import pyarrow as pa

    from tradewind_runtime.history import Advance
    from tradewind_runtime.lake import Table
    from tradewind_runtime.replacing import Replace


@dataclass(frozen=True)
class Share:
    """What is committed at once; the rest as in `Chunk`, but that it is known beforehand."""

    parts: Sequence[Any]
    positions: dict[str, Advance]
    marks: dict[str, int]
    replace: Replace | str | None = None
    schema: pa.Schema | None = None  # where there are no parts, which would say it


class Parted(Protocol):
    """What a module of this package offers."""

    def shares(
        self, source: Source, access: Access, end: Mapping[str, Any], table: Table, pieces: int
    ) -> Iterator[Share]:
        """What lies between the table's positions and `end`: each share in about so many parts, which are pickled."""

    def read(self, source: Source, access: Access, part: Any, have: pa.Schema | None) -> Iterator[Chunk]:
        """The rows of one part, for a table that has these columns; a chunk of them for each schema that comes up.

        Raises:
            BrokenObjectsError: as `Reader.read`.
        """


def of(kind: str) -> Parted:
    """The module of a source's kind."""
    return cast("Parted", importlib.import_module(f"tradewind_runtime.sources.parts.{kind}"))

"""Versions of a table that can be read no more: before their files go, it is said beside the table.

A result that stands on such a version counts no longer, so its step is done again, and gives a version that is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from pydantic import ValidationError

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.history import Commit


class Gone(Frozen):
    """`tables/<table>/_gone/….json`: spans of versions that have lost files, each from one up to another."""

    spans: tuple[tuple[int, int], ...] = ()

    def has(self, version: int) -> bool:
        """Whether a version is among them."""
        return any(first <= version < end for first, end in self.spans)

    def joined(self, spans: Iterable[tuple[int, int]]) -> Gone:
        """With more of them."""
        found: list[tuple[int, int]] = []
        for first, end in sorted([*self.spans, *spans]):
            if found and first <= found[-1][1]:
                found[-1] = found[-1][0], max(end, found[-1][1])
            else:
                found.append((first, end))
        return Gone(spans=tuple(found))


def of(documents: Documents, table: str) -> Gone | None:
    """Those of a table; None where nothing was ever said of it."""
    while True:
        paths = list(documents.names(_folder(table)))
        contents = [documents.get(path) for path in paths]
        if None not in contents:  # else somebody has joined some meanwhile
            break
    found = [one for content in contents for one in _read(content or b"")]
    return Gone().joined(span for one in found for span in one.spans) if found else None


def tell(documents: Documents, table: str, spans: Iterable[tuple[int, int]]) -> None:
    """Say that more of a table's are.

    Others may say so at the same time: each writes a document of its own, and removes those alone that it holds.
    """
    before = list(documents.names(_folder(table)))
    told = (of(documents, table) or Gone()).joined(spans)
    documents.create(f"{_folder(table)}/{uuid.uuid4().hex}.json", told.model_dump_json().encode())
    for path in before:
        documents.delete(path)


def stands(documents: Documents, result: StepResult) -> bool:
    """Whether all that a result refers to can still be read, as far as was said."""
    refs = [ref for ref in result.outputs.values() if isinstance(ref, DatasetRef)]
    return not any(_has(documents, ref) for ref in refs)


def require(documents: Documents, ref: DatasetRef) -> None:
    """See that a version can still be read.

    Raises:
        StepError: TW520 where it cannot.
    """
    if _has(documents, ref):
        raise StepError(
            "TW520", f"version {ref.version} of table {ref.table!r} is kept no longer", retryable=False,
            fix="clear the run from its first task on, or start a new one: rows are then read as they are now",
        )  # fmt: skip


def same_rows(told: Gone | None, version: int, later: Sequence[Commit]) -> int | None:
    """The first version from one on that has its rows, and all of their files: upkeep makes such versions.

    Args:
        told: those of the table; where nothing was said, as by an older Tradewind, versions before the last vacuum are
            taken for gone.
        version: the one.
        later: the commits after it, oldest first.

    Returns:
        None where rows have changed before there is one.
    """
    if told is None:
        told = Gone(spans=((0, max((one.version for one in later if one.vacuumed), default=0)),))
    same = takewhile(lambda commit: commit.upkeep, later)
    return next((at for at in (version, *(commit.version for commit in same)) if not told.has(at)), None)


def _has(documents: Documents, ref: DatasetRef) -> bool:
    told = of(documents, ref.table)
    return told is not None and told.has(ref.version)


def _read(content: bytes) -> Iterator[Gone]:
    try:
        yield Gone.model_validate_json(content)
    except ValidationError:  # its machine lost its power
        return


def _folder(table: str) -> str:
    return f"tables/{table}/_gone"

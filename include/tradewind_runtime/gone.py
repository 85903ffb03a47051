"""Versions of a table that can be read no more: before their files go, it is said beside the table.

A result that stands on such a version counts no longer, so its step is done again, and gives a version that is there.
"""

from __future__ import annotations

from collections.abc import Iterable

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.documents import Documents


class Gone(Frozen):
    """`tables/<table>/_gone.json`: spans of versions that have lost files, each from one up to another."""

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


def of(documents: Documents, table: str) -> Gone:
    """Those of a table."""
    return documents.get_model(_path(table), Gone) or Gone()


def tell(documents: Documents, table: str, spans: Iterable[tuple[int, int]]) -> None:
    """Say that more of a table's are."""
    documents.put(_path(table), of(documents, table).joined(spans).model_dump_json().encode())


def stands(documents: Documents, result: StepResult) -> bool:
    """Whether all that a result refers to can still be read."""
    refs = [ref for ref in result.outputs.values() if isinstance(ref, DatasetRef)]
    return not any(of(documents, ref.table).has(ref.version) for ref in refs)


def require(documents: Documents, ref: DatasetRef) -> None:
    """See that a version can still be read.

    Raises:
        StepError: TW520 where it cannot.
    """
    if of(documents, ref.table).has(ref.version):
        raise StepError(
            "TW520", f"version {ref.version} of table {ref.table!r} is kept no longer", retryable=False,
            fix="clear the run from its first task on, or start a new one: rows are then read as they are now",
        )  # fmt: skip


def _path(table: str) -> str:
    return f"tables/{table}/_gone.json"

"""Columns that a source begins to have, or wider types of them: what becomes of them, as the YAML says."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import NewColumns, Source
from tradewind_runtime.sources.columns import NAME, RESERVED, plain
from tradewind_runtime.widening import widens

log = logging.getLogger("tradewind")


class NewColumnError(Exception):
    """A row has one, and the YAML forbids it."""

    def __init__(self, row: int, column: str) -> None:
        super().__init__(column)
        self.row, self.column = row, column

    def told(self, place: str) -> StepError:
        """For people; the place is that of the row."""
        return StepError(
            "TW529",
            f"the source has a new column, {self.column!r}",
            retryable=False,
            got=place,
            expected="the columns that the table has: new_columns is strict",
            fix="new_columns: add takes it in, ignore leaves it out, quarantine puts such rows aside",
        )


@dataclass
class Columns:
    """Those that a table has, or is about to have.

    Args:
        schema: of the table, without what ingestion adds.
        policy: for columns that are not in it.
        first: there is no row yet, so whatever comes is taken in.
        taken: names that mean something else.
    """

    schema: pa.Schema
    policy: NewColumns = "ignore"
    first: bool = False
    taken: Collection[str] = ()
    left_out: set[str] = field(default_factory=set)  # names of what no table can hold

    @classmethod
    def of(cls, source: Source, schema: pa.Schema, taken: Collection[str] = ()) -> Columns:
        """Of a source; `schema` is what is known before its first row is read."""
        seen = source.columns is not None or any(column.name != source.time for column in schema)
        return cls(schema, source.on_new_columns, first=not seen, taken=taken)

    @property
    def grows(self) -> bool:
        """Whether new columns are taken in."""
        return self.first or self.policy == "add"

    @property
    def looks(self) -> bool:
        """Whether columns that are not known matter."""
        return self.grows or self.policy != "ignore"

    def wants(self, name: str) -> bool:
        """Whether it is one, or may become one."""
        return self.looks or name in self.schema.names

    def meet(self, rows: pa.Table) -> dict[int, str]:
        """Take new columns and wider types in, or say which rows must not have them: row → why.

        Raises:
            NewColumnError: where the policy is strict.
        """
        new = list(self._new(rows.schema)) if self.looks else []
        if self.grows:
            self.schema = pa.schema([*(self._widened(column, rows.schema) for column in self.schema), *new])
            return {}
        found: dict[int, str] = {}
        for column in new:
            for row in np.flatnonzero(rows.column(column.name).is_valid()).tolist():
                found.setdefault(row, column.name)
        if found and self.policy == "strict":
            row = min(found)
            raise NewColumnError(row, found[row])
        return {row: f"the column {name} is new" for row, name in found.items()}

    def settle(self, found: pa.Schema) -> None:
        """Take in what a file has, as far as the policy goes; whatever its rows then have besides is ignored."""
        if self.grows:
            if found != self.schema:  # as a file's seldom are, and many files may be small
                self.meet(pa.schema([column.with_type(_known(column.type)) for column in found]).empty_table())
            self.policy, self.first = "ignore", False

    def _widened(self, column: pa.Field, found: pa.Schema) -> pa.Field:
        kind = plain(found.field(column.name).type) if column.name in found.names else None
        return column.with_type(kind) if kind is not None and widens(column.type, kind) else column

    def _new(self, found: pa.Schema) -> Iterator[pa.Field]:
        known = {*map(str.lower, self.schema.names)}  # as a table tells them apart
        for column in found:
            if column.name in self.schema.names or column.name in self.taken:
                continue
            kind, name = plain(column.type), column.name.lower()
            if kind is not None and NAME.fullmatch(column.name) and column.name not in RESERVED and name not in known:
                known.add(name)
                yield pa.field(column.name, kind)
            elif not pa.types.is_null(column.type):
                self.left_out.add(column.name)


def _known(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_null(kind) else kind


def tell_left_out(place: str, names: Collection[str]) -> None:
    """Say which columns of a source are in no table, since none can hold them."""
    if names:
        log.info("%s: left out, since no table can hold them: %s", place, ", ".join(sorted(names)))

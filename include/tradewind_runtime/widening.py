"""Types of columns that give way to wider ones, where no value loses anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tradewind_runtime.actions import arrow_schema
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Rewriting, Table

if TYPE_CHECKING:
    from deltalake import DeltaTable


def widens(kind: pa.DataType, wider: pa.DataType) -> bool:
    """Whether values of a type may become values of another.

    A whole number of more than 53 bits may be none of `double`: a safe cast finds it.
    """
    types: Any = pa.types
    if types.is_signed_integer(kind):
        whole = types.is_signed_integer(wider) and kind.bit_width < wider.bit_width
        return bool(whole or types.is_float64(wider))
    if types.is_float32(kind):
        return bool(types.is_float64(wider))
    if types.is_decimal(kind) and types.is_decimal(wider):
        more = wider.scale - kind.scale
        return bool(kind != wider and more >= 0 and wider.precision - kind.precision >= more)
    return bool(types.is_date32(kind) and types.is_timestamp(wider))


def fitting(table: Table, schema: pa.Schema) -> pa.Schema:
    """What `fit` will give, with the table as it is.

    Raises:
        StepError: TW519 where values would be lost.
    """
    return agreed(table.schema() or pa.schema([]), schema, table.name)


def fit(table: Table, schema: pa.Schema) -> pa.Schema:
    """The types in which rows of these columns are written: the table's own, as it is after this.

    It gains columns that it does not have. One whose type is narrower is widened: all files are written again, in one
    version, and older versions stay as they were.

    Raises:
        StepError: TW519 where values would be lost.
    """
    have = arrow_schema(table.prepare(schema))
    types = agreed(have, schema, table.name)
    if not _wider(types, have):
        return types

    def choose(handle: DeltaTable) -> Rewriting | None:
        have = arrow_schema(handle)
        wider = _wider(agreed(have, schema, table.name), have)
        whole = pa.schema([one.with_type(wider.get(one.name, one.type)) for one in have])
        files = table.snapshot(handle.version()).files
        told = {name: str(kind) for name, kind in wider.items()}
        return Rewriting([[file] for file in files], {"widened": told}, whole) if wider else None

    try:
        table.rewrite(choose)
    except pa.ArrowInvalid as error:
        raise narrowed(table.name, str(error)) from error
    return agreed(table.snapshot().schema, schema, table.name)


def _wider(types: pa.Schema, have: pa.Schema) -> dict[str, pa.DataType]:
    """The columns that must become wider."""
    return {one.name: one.type for one in types if have.field(one.name).type != one.type}


def agreed(have: pa.Schema, wanted: pa.Schema, name: str) -> pa.Schema:
    """The wider type of each wanted column, in their order: of the table or of the rows.

    Args:
        have: the table's columns.
        wanted: the rows'.
        name: of the table.

    Raises:
        StepError: TW519 where neither holds the values of the other.
    """
    fields = []
    for field in wanted:
        kind = have.field(field.name).type if field.name in have.names else field.type
        if kind != field.type and not (widens(kind, field.type) or widens(field.type, kind)):
            raise narrowed(name, f"column {field.name!r} is {kind} there and {field.type} now")
        fields.append(field if widens(kind, field.type) else field.with_type(kind))
    return pa.schema(fields)


def together(tables: Sequence[pa.Table], schema: pa.Schema, name: str) -> pa.Table:
    """Pieces as one, in columns and types that came up after some of them.

    Args:
        tables: each with some of the columns, of these types or narrower ones.
        schema: of all.
        name: what they are of.

    Raises:
        StepError: TW519 where a type that became wider would lose a value.
    """
    try:
        typed = [_widened(table, schema) for table in tables]
    except pa.ArrowInvalid as error:
        raise narrowed(name, str(error)) from error
    if not typed or typed[0].schema != schema:  # whose columns lead, so they are to be all
        typed = [schema.empty_table(), *typed]
    return pa.concat_tables(typed, promote_options="default").combine_chunks()


def _widened(table: pa.Table, schema: pa.Schema) -> pa.Table:
    types = pa.schema([schema.field(column.name) for column in table.schema])
    return table if types == table.schema else table.cast(types)


def narrowed(name: str, what: str) -> StepError:
    """A change of types that would lose values."""
    return StepError(
        "TW519",
        f"table {name!r} cannot take the new types: {what}",
        retryable=False,
        fix="give the column its old type, or another name",
    )

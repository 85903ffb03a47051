"""Types of Arrow as a Delta table holds them, which knows fewer: each by the one that holds its values.

A moment is kept in UTC and in microseconds, so its instant stays and the name of its zone does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from tradewind_runtime.contract.errors import StepError

DIGITS = 38  # of the longest decimal
_SAME: Mapping[pa.DataType, pa.DataType] = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
}
_HELD = {
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.bool_(),
    pa.date32(), pa.null(),
}  # fmt: skip


def stored(kind: pa.DataType) -> pa.DataType | None:
    """The type by which a table holds these values, or None where it holds none such."""
    types = pa.types
    if types.is_dictionary(kind):
        return stored(kind.value_type)
    if types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if kind.precision <= DIGITS and kind.scale >= 0 else None
    if types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_nested(kind):
        return _nested(kind)
    return kind if kind in _HELD else _SAME.get(kind)


def _nested(kind: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if _listed(kind):
        item = _inner(kind.value_field)
        return item and pa.list_(item)
    if types.is_struct(kind):
        fields = [_inner(one) for one in kind]
        return pa.struct(fields) if fields and all(fields) else None
    if types.is_map(kind):
        key, item = stored(kind.key_type), _inner(kind.item_field)
        held = key and item and pa.map_(key, item)
        return None if held is None or _local(held) else held
    return None


def _listed(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _inner(field: pa.Field) -> pa.Field | None:
    """None also where nothing is known of its values, as of a list's where all lists are empty."""
    return None if pa.types.is_null(field.type) else _field(field)


def filled(kind: pa.DataType, have: pa.DataType) -> pa.DataType:
    """A type, with what a table's own says where it says nothing: where no row has a value, or all lists are empty."""
    types = pa.types
    if types.is_null(kind):
        return have
    if _listed(kind) and types.is_list(have):
        return pa.list_(_filled(kind.value_field, have.value_field))
    if types.is_struct(kind) and types.is_struct(have) and kind.names == have.names:
        return pa.struct([_filled(one, there) for one, there in zip(kind, have, strict=True)])
    if types.is_map(kind) and types.is_map(have):
        return pa.map_(kind.key_type, _filled(kind.item_field, have.item_field))
    return kind


def _filled(field: pa.Field, have: pa.Field) -> pa.Field:
    return field.with_type(filled(field.type, have.type))


def _local(kind: pa.DataType) -> bool:
    """Whether there are times without a zone in it: within a map delta-rs makes no table of them."""
    if pa.types.is_timestamp(kind):
        return kind.tz is None
    return any(_local(kind.field(at).type) for at in range(kind.num_fields))


def _field(field: pa.Field) -> pa.Field | None:
    kind = stored(field.type)
    return kind and field.with_type(kind)


def stored_schema(schema: pa.Schema, table: str) -> pa.Schema:
    """Columns as a table holds them.

    Raises:
        StepError: TW519 where it cannot hold one.
    """
    fields = [_field(one) for one in schema]
    for one, field in zip(schema, fields, strict=True):
        if field is None:
            raise _unheld(table, f"{one.name!r} is {one.type}, which no table holds")
    return pa.schema(fields)


def held(batch: pa.RecordBatch, schema: pa.Schema, table: str) -> pa.RecordBatch:
    """Rows by these types.

    Raises:
        StepError: TW519 where one has no such value: a whole number beyond 64 bits, a moment finer than a microsecond.
    """
    try:
        return batch.cast(schema)
    except pa.ArrowInvalid as error:
        raise _unheld(table, str(error)) from error


def beyond_years(column: str, time: pa.Scalar) -> StepError:
    """A time that Parquet holds, and Python and many others do not: a transform's, as ingestion takes none such."""
    shown = time.cast(pa.string())  # the year 30000 too
    return StepError(
        "TW547", f"the transform's result has a time in {column!r} beyond the years 1 to 9999: {shown}",
        retryable=False, fix="make it NULL where there is none, or a time within these years",
    )  # fmt: skip


def _unheld(table: str, what: str) -> StepError:
    return StepError(
        "TW519", f"table {table!r} cannot take the new types: {what}", retryable=False,
        fix="cast the column to a type that holds its values: a number, a text, a timestamp",
    )  # fmt: skip

"""Columns and their types: the few that a table has, and turning what a source gives into them, row by row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import DECIMAL, Source
from tradewind_runtime.sources.nested import UNHELD, texts
from tradewind_runtime.widening import widens

TIMESTAMP = pa.timestamp("us", "UTC")
TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": TIMESTAMP,
    "binary": pa.binary(),
}
_WORDS = {kind: name for name, kind in TYPES.items()}
#: What ingestion adds to each row: where it came from.
PROVENANCE = pa.schema([("_source", pa.string()), ("_position", pa.int64()), ("_ingested", TIMESTAMP)])
KAFKA_TIMESTAMP = pa.field("_timestamp", TIMESTAMP)
RESERVED = {*PROVENANCE.names, KAFKA_TIMESTAMP.name}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ZONED = re.compile(r"[T ]\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")
#: Years 1 to 9999, in days and in microseconds.
_YEARS = {32: (-719_162, 2_932_896), 64: (-719_162 * 86_400_000_000, 2_932_897 * 86_400_000_000 - 1)}
_TOO_FINE = r"(\.\d{6})\d+"


def declared(source: Source) -> pa.Schema | None:
    """The columns that the YAML names, or None where they are to be inferred.

    Raises:
        StepError: TW527 where a name is one that ingestion gives, or event time is no time.
    """
    if source.columns is None:
        return None
    if taken := RESERVED & set(source.columns):
        fix = "leave it out of columns"
        raise StepError("TW527", "ingestion gives a column of that name", retryable=False, got=sorted(taken), fix=fix)
    kept = source.kafka.keep.get("timestamp") if source.kafka else None
    if source.time and source.time != kept and source.columns.get(source.time) not in ("timestamp", "date"):
        raise StepError(
            "TW527",
            f"the column of event time, {source.time!r}, is not one of time",
            retryable=False,
            got=source.columns.get(source.time, "not among columns"),
            expected="timestamp or date",
        )
    return pa.schema([(name, type_of(kind)) for name, kind in source.columns.items()])


def known(source: Source, table: pa.Schema | None) -> pa.Schema:
    """What is known of the columns before the first row is read: of an inferred source, those the table has.

    A type that the YAML names gives way to a wider one that the table has: rows are read as they will be written.
    """
    if (fixed := declared(source)) is not None:
        have = {column.name: column.type for column in table or ()}
        wider = [column.with_type(have.get(column.name, column.type)) for column in fixed]
        types = [new if widens(old.type, new.type) else old for old, new in zip(fixed, wider, strict=True)]
        if source.on_new_columns != "ignore":  # then those that the table has gained are known too
            types += [column for column in table or () if column.name not in {*fixed.names, *RESERVED}]
        return pa.schema(types)
    fields = [pa.field(f.name, f.type) for f in table or () if f.name not in RESERVED]
    if source.time and source.time not in {f.name for f in fields}:
        fields.append(pa.field(source.time, TIMESTAMP))
    return pa.schema(fields)


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The nearest type that a table may have; None for what it may not, where nothing is known."""
    if pa.types.is_integer(kind):
        return pa.int32() if kind.bit_width < 32 or kind == pa.int32() else pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64() if kind.bit_width == 64 else pa.float32()
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_timestamp(kind):
        return TIMESTAMP
    if pa.types.is_date(kind):
        return pa.date32()
    if pa.types.is_large_string(kind) or pa.types.is_time(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_nested(kind):
        return None if kind == UNHELD else pa.string()
    return kind if kind in _WORDS or pa.types.is_decimal(kind) else None


def type_of(word: str) -> pa.DataType:
    """A type that the YAML names."""
    found = DECIMAL.fullmatch(word)
    return pa.decimal128(int(found[1]), int(found[2])) if found else TYPES[word]


def word(kind: pa.DataType) -> str:
    """A type as the YAML says it."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _WORDS.get(kind, str(kind))


@dataclass(frozen=True)
class Conformed:
    """Rows of the wanted types; `kept` are their indexes among those given, `refused` the others' reasons."""

    rows: pa.Table
    kept: np.ndarray
    refused: dict[int, str]


def conform(rows: pa.Table, schema: pa.Schema) -> Conformed:
    """Rows with exactly these columns: what is missing is null, what is not of the type is refused."""
    refused: dict[int, str] = {}
    columns = []
    have = set(rows.column_names)
    for field in schema:
        if field.name not in have:
            columns.append(pa.nulls(rows.num_rows, field.type))
            continue
        array = _whole(rows.column(field.name))
        typed, wrong = convert(array, field.type)
        columns.append(typed)
        for row in wrong:
            refused.setdefault(row, _reason(field, shown(array[row])))
    table = pa.Table.from_arrays(columns, schema=schema)
    kept = np.arange(rows.num_rows)
    if refused:
        kept = np.delete(kept, sorted(refused))
        table = table.take(pa.array(kept))
    return Conformed(table, kept, refused)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    chunks = column.chunks
    if pa.types.is_dictionary(column.type):  # whose values together may be more than their indexes can tell apart
        chunks = [chunk.dictionary_decode() for chunk in chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], column.type)


def convert(array: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The array as another type, and the indexes that could not be: null there."""
    if array.type == kind and not pa.types.is_temporal(kind):
        return array, []
    if pa.types.is_nested(array.type) and pa.types.is_string(kind):
        return texts(array)
    cast = _in_years(_cast(array.type, kind)) if pa.types.is_temporal(kind) else _cast(array.type, kind)
    try:
        return cast(array), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        wrong = list(_failing(array, cast))
        mask = np.zeros(len(array), dtype=bool)
        mask[wrong] = True
        try:
            return cast(pc.if_else(pa.array(mask), pa.scalar(None, array.type), array)), wrong
        except pa.ArrowNotImplementedError:  # no row of this type could ever be
            return pa.nulls(len(array), kind), list(range(len(array)))


def _failing(array: pa.Array, cast: Callable[[pa.Array], pa.Array], offset: int = 0) -> Iterator[int]:
    """Halve until each value that fails stands alone."""
    if not len(array):
        return
    try:
        cast(array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(array) == 1:
            yield offset
            return
        half = len(array) // 2
        yield from _failing(array[:half], cast, offset)
        yield from _failing(array[half:], cast, offset + half)


def _cast(found: pa.DataType, wanted: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    text = pa.types.is_string(found) or pa.types.is_large_string(found)
    if pa.types.is_binary(found) or pa.types.is_large_binary(found):
        if pa.types.is_binary(wanted):
            return lambda array: pc.cast(array, wanted)
        inner = _cast(pa.string(), wanted)
        return lambda array: inner(pc.cast(array, pa.string()))
    if text and pa.types.is_timestamp(wanted):
        return _timestamps
    if text and not (pa.types.is_string(wanted) or pa.types.is_binary(wanted)):
        return lambda array: pc.cast(pc.utf8_trim_whitespace(array), wanted)
    if pa.types.is_temporal(wanted) and not (pa.types.is_temporal(found) or pa.types.is_null(found)):
        return _never  # Arrow would take a number for microseconds
    if pa.types.is_timestamp(wanted):
        finer = pa.types.is_timestamp(found) and found.unit == "ns"  # is cut; a coarser one may be beyond what it holds
        return lambda array: pc.cast(array, wanted, safe=not finer)
    if pa.types.is_decimal(wanted) and not (pa.types.is_decimal(found) or pa.types.is_null(found)):
        return lambda array: pc.cast(pc.cast(array, pa.string()), wanted)  # as it is written: never rounded
    return lambda array: pc.cast(array, wanted)


def _in_years(cast: Callable[[pa.Array], pa.Array]) -> Callable[[pa.Array], pa.Array]:
    """With no time before the year 1 or after 9999: it is another number's, and few programs can read it."""

    def checked(array: pa.Array) -> pa.Array:
        found = cast(array)
        if not in_years(found):
            raise pa.ArrowInvalid("a time beyond the year 9999")
        return found

    return checked


def in_years(array: pa.Array | pa.ChunkedArray) -> bool:
    """Whether all times of a column are within years that others can read."""
    low, high = (bound.value for bound in pc.min_max(array).values())  # Python has not all of them as times
    first, last = _YEARS[array.type.bit_width]
    return low is None or first <= low <= high <= last


def _never(array: pa.Array) -> pa.Array:
    if array.null_count == len(array):
        return pa.nulls(len(array), TIMESTAMP)
    raise pa.ArrowInvalid


def _timestamps(array: pa.Array) -> pa.Array:
    """ISO 8601 in UTC; a time without a zone is taken as UTC, and digits below a microsecond are cut."""
    array = pc.cast(array, pa.string())
    with suppress(pa.ArrowInvalid):  # where all name their zone, and nothing is around them, this is all
        return pc.cast(array, TIMESTAMP)
    array = pc.utf8_trim_whitespace(array)
    zoned = pc.match_substring_regex(array, ZONED.pattern)
    none = pa.scalar(None, pa.string())
    with_zone, without = pc.if_else(zoned, array, none), pc.if_else(zoned, none, array)
    try:
        return _joined(with_zone, without)
    except pa.ArrowInvalid:
        return _joined(*(pc.replace_substring_regex(part, _TOO_FINE, r"\1") for part in (with_zone, without)))


def _joined(with_zone: pa.Array, without: pa.Array) -> pa.Array:
    local = pc.assume_timezone(pc.cast(without, pa.timestamp("us")), "UTC")
    return pc.coalesce(pc.cast(with_zone, TIMESTAMP), local)


def shown(value: pa.Scalar) -> object:
    """For people, also what Python has not: a time of the year 30000, and without pandas nanoseconds, which are cut."""
    if pa.types.is_timestamp(value.type) and value.type.unit == "ns":
        value = value.cast(pa.timestamp("us", value.type.tz), safe=False)
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        if pa.types.is_nested(value.type):
            return f"a {value.type}"
        return value.cast(pa.int64() if value.type.bit_width == 64 else pa.int32()).as_py()


def _reason(field: pa.Field, value: object) -> str:
    shown = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if isinstance(value, bytes) and "\\x" in shown:
        return f"column {field.name}: not UTF-8"
    hint = " (ISO 8601)" if pa.types.is_timestamp(field.type) else ""
    return f"column {field.name}: {shown[:80]!r} is not of type {word(field.type)}{hint}"

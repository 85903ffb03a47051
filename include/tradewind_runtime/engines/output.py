"""What a transform's result must be, whichever engine made it, and how rows become staged files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import PROVENANCE
from tradewind_runtime.engines import Job, Output
from tradewind_runtime.storable import beyond_years, filled, stored
from tradewind_runtime.widening import widens

MOMENT = pa.timestamp("us", "UTC")


def refused(message: str, fix: str, **details: object) -> StepError:
    """A result that cannot become the features table."""
    return StepError("TW547", f"the transform's result {message}", retryable=False, fix=fix, **details)


def shape(schema: pa.Schema, job: Job) -> pa.Schema:
    """The schema that a result is written with.

    Raises:
        StepError: TW547 where it has reserved columns, lacks the split's time, or breaks the table's types.
    """
    if reserved := [name for name in schema.names if name in PROVENANCE]:
        raise refused(
            f"has reserved columns: {', '.join(reserved)}", "drop them, as in SELECT * EXCLUDE (…)", got=schema.names
        )
    before = job.output.schema() or pa.schema([])
    named_once(schema.names, {*before.names} - {*schema.names})
    if job.time is not None:
        kind = schema.field(job.time).type if job.time in schema.names else None
        if kind is None or not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise refused(
                f"has no column {job.time!r} of times, by which it is split",
                "keep that column",
                got=schema.names if kind is None else str(kind),
                path="split.time",
            )
    there = {one.name: one.type for one in before}
    known = [one.with_type(filled(one.type, there.get(one.name, one.type))) for one in schema]
    fields = [pa.field(one.name, MOMENT if one.name == job.time else _storable(one)) for one in known]
    return _as_before(pa.schema(fields), before, job.output.name)


def named_once(names: Sequence[str], others: Iterable[str] = ()) -> None:
    """Of a result's columns and the table's other ones.

    Raises:
        StepError: TW547 where two names are the same to Delta.
    """
    named = Counter(map(str.lower, [*names, *others]))
    if twice := {name for name in names if named[name.lower()] > 1}:
        raise refused(f"has columns twice: {', '.join(sorted(twice))}", "name each column once", got=list(names))


def _storable(field: pa.Field) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_decimal(kind):
        return pa.float64()  # such as a SUM of integers in SQL: models learn from numbers
    found = None if pa.types.is_null(kind) else stored(kind)
    if found is None:
        raise refused(
            f"has the column {field.name!r} of type {kind}, which a table cannot hold",
            "cast it to a number, a text or a timestamp",
        )
    return found


def _as_before(schema: pa.Schema, before: pa.Schema, table: str) -> pa.Schema:
    """The table's own types where it has the column already, or wider ones, which it is to have with the commit."""
    fields = []
    for field in schema:
        kind = before.field(field.name).type if field.name in before.names else field.type
        if kind != field.type and not _widens(field.type, kind):
            if not widens(kind, field.type):
                raise refused(
                    f"has {field.name!r} as {field.type}, which the table {table!r} has as {kind}",
                    "give the column the same type, or another name",
                )
            kind = field.type
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def _widens(kind: pa.DataType, wider: pa.DataType) -> bool:
    if pa.types.is_floating(wider):
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind)) and kind.bit_width <= wider.bit_width
    return bool(pa.types.is_integer(kind) and pa.types.is_integer(wider)) and kind.bit_width < wider.bit_width


def stage(given: pa.Schema, batches: Iterable[pa.RecordBatch], job: Job) -> Output:
    """Write a result's rows, as they come, below the output table."""
    schema = shape(given, job)
    rows = shaped(batches, schema, job.time, job.context.range)
    files = job.output.stage(rows, schema, cut_by=job.time)
    return Output(schema, files)


def shaped(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, time: str | None, span: Window | None
) -> Iterator[pa.RecordBatch]:
    """Rows with the schema of `shape`, without those that are not of the span; batches that are left empty are not.

    Raises:
        StepError: TW547 where one has a value that its type does not hold, or a time beyond the years 1 to 9999.
    """
    for batch in batches:
        columns = [_held(column, field) for column, field in zip(batch.columns, schema, strict=True)]
        cast = pa.RecordBatch.from_arrays(columns, schema=schema)
        kept = cast.filter(_within(cast.column(time), span)) if time else cast
        if kept.num_rows:
            _check_years(kept)
            yield kept


def _held(column: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return _cast(column, field.type)
    except pa.ArrowInvalid as error:
        raise unheld(field, error) from error


def unheld(field: pa.Field, why: object) -> StepError:
    """A value that the column's type does not hold."""
    return refused(
        f"has a value in {field.name!r} that {field.type} does not hold: {why}",
        "cast the column to a type that holds it, or round it",
    )


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_date(column.type) and pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(column.type) and column.type.tz is None and kind == MOMENT:
        return pc.assume_timezone(column.cast(pa.timestamp("us"), safe=_coarse(column.type)), "UTC")
    return column.cast(kind, safe=not pa.types.is_timestamp(kind) or _coarse(column.type))


def _coarse(kind: pa.DataType) -> bool:
    """Whether its times may be too far away for microseconds; finer ones are cut."""
    return bool(pa.types.is_timestamp(kind)) and kind.unit != "ns"


def _check_years(rows: pa.RecordBatch) -> None:
    """Before there is a file, which would be found out too: but Beam's workers cannot raise what that raises."""
    times = [field.name for field in rows.schema if pa.types.is_temporal(field.type)]
    ends = [(name, end) for name in times for end in pc.min_max(rows.column(name)).values()]
    for name, end in ends:
        try:
            end.as_py()
        except (ValueError, OverflowError) as error:  # Python has no such time
            raise beyond_years(name, end) from error


def _within(times: pa.Array, span: Window | None) -> pa.Array:
    """Rows of the span only: others, and those with no time, would stay in the table for ever."""
    if span is None:
        return pc.is_valid(times)
    low, high = pa.scalar(span.start, MOMENT), pa.scalar(span.end, MOMENT)
    return pc.fill_null(pc.and_(pc.greater_equal(times, low), pc.less(times, high)), False)

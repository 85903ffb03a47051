"""Rows of any type: staged, committed, read by version, put together with others, and read again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import new_lake

from tradewind_runtime.compaction import compact
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Lake, Table

ZONES = ["UTC", "Europe/Zurich", "America/St_Johns", "Asia/Kathmandu", "+05:30", "-11:00"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Kind:
    """A type, the one by which a table holds its values, and values; of zoned times the instants, in UTC."""

    type: pa.DataType
    held: pa.DataType
    values: st.SearchStrategy[Any]


def whole(type: pa.DataType, held: pa.DataType | None = None) -> Kind:
    signed, bits = pa.types.is_signed_integer(type), type.bit_width
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, min(2**bits, 2**63) - 1)
    return Kind(type, held or type, st.integers(low, high))


def moments(unit: str, zone: str | None) -> Kind:
    """Zoned ones lie where their zone has no year beyond Python's."""
    step = {"s": 1_000_000, "ms": 1_000}.get(unit, 1)
    low, high = ((1, 9998) if unit != "ns" else (1700, 2200)) if zone is None else (1900, 2100)
    bounds = [(datetime(year, 1, 2, tzinfo=UTC) - EPOCH) // timedelta(microseconds=step) for year in (low, high)]
    values = st.integers(*bounds).map(lambda n: EPOCH + timedelta(microseconds=n * step))
    if zone is None:
        return Kind(pa.timestamp(unit), pa.timestamp("us"), values.map(lambda moment: moment.replace(tzinfo=None)))
    return Kind(pa.timestamp(unit, zone), pa.timestamp("us", "UTC"), values)


@st.composite
def decimals(draw: st.DrawFn) -> Kind:
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, precision))
    digits = st.integers(-(10**precision) + 1, 10**precision - 1)
    kind = pa.decimal128(precision, scale)
    return Kind(kind, kind, digits.map(lambda n: Decimal(f"{n}E-{scale}")))


TEXT, BYTES = st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=8)
FLOATS = partial(st.floats, allow_nan=True, allow_infinity=True)
PLAIN: list[Kind] = [
    *map(whole, (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    whole(pa.uint8(), pa.int16()), whole(pa.uint16(), pa.int32()), whole(pa.uint32(), pa.int64()),
    whole(pa.uint64(), pa.int64()),
    Kind(pa.float16(), pa.float32(), FLOATS(width=16)),
    Kind(pa.float32(), pa.float32(), FLOATS(width=32)),
    Kind(pa.float64(), pa.float64(), FLOATS()),
    *(Kind(type, pa.string(), TEXT) for type in (pa.string(), pa.large_string(), pa.string_view())),
    Kind(pa.dictionary(pa.int32(), pa.string()), pa.string(), TEXT),
    *(Kind(type, pa.binary(), BYTES) for type in (pa.binary(), pa.large_binary(), pa.binary_view())),
    Kind(pa.binary(3), pa.binary(), st.binary(min_size=3, max_size=3)),
    Kind(pa.bool_(), pa.bool_(), st.booleans()),
    *(Kind(type, pa.date32(), st.dates(date(1, 1, 1), date(9999, 12, 31))) for type in (pa.date32(), pa.date64())),
    *(moments(unit, zone) for unit in ("us", "ns", "ms", "s") for zone in (None, *ZONES)),
]  # fmt: skip


def listed(item: Kind) -> st.SearchStrategy[Kind]:
    held, values = pa.list_(item.held), st.none() | item.values
    several = st.lists(values, max_size=3)
    return st.sampled_from(
        [Kind(pa.list_(item.type), held, several), Kind(pa.large_list(item.type), held, several),
         Kind(pa.list_(item.type, 2), held, st.lists(values, min_size=2, max_size=2))]
    )  # fmt: skip


def together(parts: Sequence[Kind]) -> Kind:
    names = [f"f{at}" for at in range(len(parts))]
    values = st.fixed_dictionaries({name: st.none() | one.values for name, one in zip(names, parts, strict=True)})
    types, held = ([getattr(one, what) for one in parts] for what in ("type", "held"))
    return Kind(pa.struct(list(zip(names, types, strict=True))), pa.struct(list(zip(names, held, strict=True))), values)


def mapped(item: Kind) -> Kind:
    """Delta's library does not see that a map has times without a zone: see below."""
    values = st.dictionaries(TEXT, st.none() | item.values, max_size=3).map(lambda one: list(one.items()))
    return Kind(pa.map_(pa.string(), item.type), pa.map_(pa.string(), item.held), values)


KINDS = st.recursive(
    st.sampled_from(PLAIN) | decimals(),
    lambda inner: (
        inner.flatmap(listed)
        | st.lists(inner, min_size=1, max_size=3).map(together)
        | inner.filter(lambda kind: "[us]" not in str(kind.held)).map(mapped)
    ),
    max_leaves=4,
)


@dataclass(frozen=True)
class Rows:
    """Columns, and commits of batches of rows."""

    kinds: Sequence[Kind]
    commits: Sequence[Sequence[Sequence[Sequence[Any]]]]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(f"c{at}", kind.type) for at, kind in enumerate(self.kinds)])

    def batches(self, commit: Sequence[Sequence[Sequence[Any]]]) -> list[pa.RecordBatch]:
        return [
            pa.RecordBatch.from_arrays(
                [pa.array([row[at] for row in batch], one.type) for at, one in enumerate(self.schema)],
                schema=self.schema,
            )
            for batch in commit
        ]


@st.composite
def some_rows(draw: st.DrawFn) -> Rows:
    kinds = draw(st.lists(KINDS, min_size=1, max_size=4))
    row = st.tuples(*(st.none() | kind.values for kind in kinds))
    return Rows(kinds, draw(st.lists(st.lists(st.lists(row, max_size=4), max_size=3), min_size=2, max_size=3)))


def canonical(value: Any) -> Any:
    """By which two values are compared: of floats also NaN, and which zero; of moments the instant."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC)
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, dict):
        return sorted((name, canonical(one)) for name, one in value.items())
    if isinstance(value, list | tuple):
        return [canonical(one) for one in value]
    return value


def assert_holds(table: Table, version: int, rows: Rows) -> None:
    """A version has all of them, and none besides, by a table's types."""
    found = table.snapshot(version).to_arrow()
    assert found.schema.types == [kind.held for kind in rows.kinds]
    given = [canonical(row) for commit in rows.commits for batch in commit for row in batch]
    there = [canonical(list(row.values())) for row in found.to_pylist()]
    assert sorted(map(repr, there)) == sorted(map(repr, given))


@settings(max_examples=100)
@given(some_rows())
def test_rows_of_any_type_come_back_as_they_were(rows: Rows) -> None:
    """Also from a file that was written anew.

    Delta has signed integers alone, one type of text, and moments in UTC: a value comes back by the smallest type that
    holds it. Of a zoned time it keeps the instant; the zone's name is lost, whichever it was.
    """
    table = new_lake().table("p/t")
    for commit in rows.commits:
        written = table.commit(table.stage(rows.batches(commit), rows.schema), schema=rows.schema)
    assert_holds(table, written, rows)
    files = len(table.snapshot(written).files)
    assert files == sum(any(map(len, commit)) for commit in rows.commits)
    assert compact(table, written) == (files if files > 1 else 0)
    now = table.version()
    assert now is not None
    assert len(table.snapshot(now).files) == min(files, 1)
    assert_holds(table, now, rows)
    assert_holds(table, written, rows)


def test_a_table_of_two_thousand_columns(lake_uri: str) -> None:
    table, width = Lake(lake_uri).table("p/wide"), 2_000
    values: list[tuple[pa.DataType, list[Any]]] = [
        (pa.int64(), [-1, None]),
        (pa.float64(), [0.5, math.inf]),
        (pa.string(), ["é", ""]),
        (pa.decimal128(38, 9), [Decimal("-0.000000001"), None]),
        (pa.timestamp("us", "Europe/Zurich"), [EPOCH, None]),
        (pa.list_(pa.struct([("n", pa.int32())])), [[{"n": 1}, None], []]),
    ]
    chosen = [values[at % len(values)] for at in range(width)]
    names = [f"a column {at}" for at in range(width)]
    rows = pa.table([pa.array(some, kind) for kind, some in chosen], names=names)
    for _ in range(3):
        written = table.commit(table.stage(rows.to_batches(), rows.schema), schema=rows.schema)
    expected = [[some[row] for _, some in chosen] for row in (0, 1)]

    def there(version: int) -> list[list[Any]]:
        return [list(row.values()) for row in table.snapshot(version).to_arrow().to_pylist()]

    assert there(written) == expected * 3
    assert compact(table, written) == 3
    assert table.snapshot().schema.names == names
    assert there(written + 1) == expected * 3
    assert there(written) == expected * 3
    assert table.snapshot().count(pc.field(names[-1 - (width - 1) % len(values)]) == -1) == 3, "found by its bounds"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.time64("us"), time(1)),
        (pa.duration("us"), timedelta(1)),
        (pa.decimal256(39, 0), Decimal(10**38)),
        (pa.struct([("gap", pa.duration("us"))]), {"gap": timedelta(1)}),
        (pa.list_(pa.map_(pa.string(), pa.time64("us"))), [[("a", time(1))]]),
        (pa.map_(pa.string(), pa.list_(pa.timestamp("us"))), [("a", [datetime(2013, 1, 1)])]),  # noqa: DTZ001
    ],
    ids=str,
)
def test_types_that_no_table_holds_are_refused_by_name(lake_uri: str, kind: pa.DataType, value: Any) -> None:
    table, rows = Lake(lake_uri).table("p/t"), pa.table({"c": pa.array([value], kind)})
    for attempt in (
        lambda: table.stage(rows.to_batches(), rows.schema),
        lambda: table.commit([], schema=rows.schema),
        lambda: table.create(rows.schema),
    ):
        with pytest.raises(StepError, match=r"TW519: table 'p/t' .* 'c' is .*, which no table holds") as caught:
            attempt()
        assert not caught.value.retryable
    assert not table.exists()


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.uint64(), 2**63), (pa.timestamp("ns", "UTC"), 1), (pa.list_(pa.timestamp("ns")), [1])],
    ids=str,
)
def test_values_that_no_table_holds_are_refused(lake_uri: str, kind: pa.DataType, value: Any) -> None:
    table, rows = Lake(lake_uri).table("p/t"), pa.table({"c": pa.array([value], kind)})
    with pytest.raises(StepError, match=r"TW519: table 'p/t' cannot take the new types: .*(range|lose data)") as caught:
        table.stage(rows.to_batches(), rows.schema)
    assert not caught.value.retryable

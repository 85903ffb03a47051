"""Avro records: what fastavro writes is read by both ways alike, and a broken one harms no other."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind_runtime.sources.messages.avro import Decoder, Written, _one, _together, columns_of
from tradewind_runtime.sources.nested import UNHELD
from tradewind_runtime.sources.newcolumns import Columns

FIRST, LAST = datetime(1900, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
MOMENTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
MOMENT = datetime(2013, 1, 1, tzinfo=UTC)
WHOLE = MOMENTS.map(lambda moment: moment.replace(microsecond=0))
#: Types in Avro, and their values.
TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "long": ("long", st.integers(-(2**63), 2**63 - 1)),
    "int": ("int", st.integers(-(2**31), 2**31 - 1)),
    "double": ("double", st.floats(allow_nan=False)),
    "float": ("float", st.floats(width=32, allow_nan=False)),
    "text": ("string", st.text()),
    "bytes": ("bytes", st.binary()),
    "flag": ("boolean", st.booleans()),
    "maybe": (["null", "long"], st.none() | st.integers(-5, 5)),
    "maybe_text": (["string", "null"], st.none() | st.text(max_size=3)),
    "kind": ({"type": "enum", "name": "Kind", "symbols": ["A", "B"]}, st.sampled_from("AB")),
    "fixed": ({"type": "fixed", "name": "Four", "size": 4}, st.binary(min_size=4, max_size=4)),
    "day": ({"type": "int", "logicalType": "date"}, st.dates(date(1900, 1, 1), date(2200, 1, 1))),
    "millis": ({"type": "long", "logicalType": "timestamp-millis"}, WHOLE),
    "micros": ({"type": "long", "logicalType": "timestamp-micros"}, MOMENTS),
    "money": (
        {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
        st.decimals(-1000, 1000, places=2),
    ),
    "uuid": ({"type": "string", "logicalType": "uuid"}, st.uuids().map(str)),
}  # fmt: skip
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
NESTED = {
    "many": {"type": "array", "items": "string"},
    "map": {"type": "map", "values": {"type": "map", "values": "long"}},
    "within": {"type": "record", "name": "Within", "fields": [{"name": "a", "type": "int"}]},
}
NESTED_VALUES = {"many": ["x", "y"], "map": {"a": {"b": 1}}, "within": {"a": 3}}


def schema(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "namespace": "n", "fields": [{"name": n, "type": t} for n, t in fields]}


def written(body: dict[str, Any], *rows: dict[str, Any]) -> list[bytes]:
    parsed, found = fastavro.parse_schema(json.loads(json.dumps(body))), []
    for row in rows:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, row)
        found.append(out.getvalue())
    return found


def decoder(body: dict[str, Any], columns: pa.Schema | None = None) -> Decoder:
    return Decoder(
        Columns(columns or pa.schema([]), "ignore" if columns else "add"), fixed=Written.parse(json.dumps(body), {})
    )


@st.composite
def records(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, unique=True))
    rows = draw(st.lists(st.fixed_dictionaries({name: TYPES[name][1] for name in names}), min_size=1, max_size=20))
    return schema(*((name, TYPES[name][0]) for name in names)), rows


@settings(max_examples=60)
@given(records())
def test_what_was_written_is_read(made):
    body, rows = made
    found, kept, refused = decoder(body).decode(written(body, *rows))
    assert refused == {}
    assert kept.tolist() == list(range(len(rows)))
    assert found.to_pylist() == rows


@settings(max_examples=40)
@given(records())
def test_both_ways_read_the_same(made):
    body, rows = made
    contents, kind = written(body, *rows), Written.parse(json.dumps(body), {})
    assert kind.quick
    quick, (slow, wrong) = _together(contents, kind, 7), columns_of([_one(content, kind) for content in contents], kind)
    assert wrong == {}
    assert quick.to_pylist() == slow.to_pylist()


@settings(max_examples=60)
@given(records(), st.data())
def test_a_broken_record_harms_no_other(made, data):
    body, rows = made
    contents: list[bytes | None] = [*written(body, *rows)]
    broken = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    for index in broken:
        content = contents[index] or b""
        how = data.draw(st.sampled_from(["short", "long", "gone"]))
        contents[index] = {"short": content[:-1], "long": content + data.draw(st.binary(min_size=1)), "gone": None}[how]
    found, kept, refused = decoder(body).decode(contents)
    assert set(refused) == broken
    whole = kept.tolist()
    assert whole == [index for index in range(len(rows)) if index not in broken]
    assert found.to_pylist() == [rows[index] for index in whole]


TIMES = {
    "micros": {"type": "long", "logicalType": "time-micros"},
    "millis": {"type": "int", "logicalType": "time-millis"},
}
TEXTS = [
    {"micros": "01:02:03.000004", "millis": "01:02:03.004"},
    {"micros": "23:59:59.000000", "millis": "00:00:00.000"},
]


def test_a_time_has_the_same_text_beside_a_broken_record():
    body = schema(*TIMES.items())
    rows = [
        {"micros": time(1, 2, 3, 4), "millis": time(1, 2, 3, 4_000)},
        {"micros": time(23, 59, 59), "millis": time()},
    ]
    contents = written(body, *rows)
    alone, _, _ = decoder(body).decode(contents)
    beside, _, refused = decoder(body).decode([*contents, b"\xff"])
    assert alone.to_pylist() == beside.to_pylist() == TEXTS
    assert list(refused) == [2]


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("beyond", [86_400_000_000, 2**62])
def test_a_time_of_more_than_a_day_is_refused_and_not_made_nothing(name, beyond):
    body, plain = schema((name, ["null", TIMES[name]])), schema((name, ["null", "long"]))
    contents = written(plain, {name: 5}, {name: beyond}, {name: None})
    found, kept, refused = decoder(body).decode(contents)
    assert found[name].to_pylist() == [{"micros": "00:00:00.000005", "millis": "00:00:00.005"}[name], None]
    assert kept.tolist() == [0, 2]
    assert "not an Avro record of its schema" in refused[1]


def test_lists_maps_and_records_are_json():
    body = schema(("n", "long"), *NESTED.items())
    found, _, refused = decoder(body).decode(written(body, {"n": 1, **NESTED_VALUES}))
    assert refused == {}
    (row,) = found.to_pylist()
    assert {name: json.loads(row[name]) for name in NESTED} == NESTED_VALUES


def test_what_is_nested_and_not_asked_for_is_read_past():
    body = schema(("n", "long"), *NESTED.items())
    known = pa.schema([("n", pa.int64()), ("many", pa.string())])
    for columns, wanted in ((known, {"n": 1, "many": '["x","y"]'}), (known.remove(1), {"n": 1})):
        reads = decoder(body, columns)
        assert reads.decode(written(body, {"n": 1, **NESTED_VALUES}))[0].to_pylist() == [wanted]
        assert reads.columns.left_out == set()
    found, _ = columns_of([{"n": 1, **NESTED_VALUES}], Written.parse(json.dumps(body), {}), {"n", "many"}.__contains__)
    assert [one.name for one in found.schema if one.type != UNHELD] == ["n", "many"]


PARTS = {"micros": TYPES["micros"][0], "day": TYPES["day"][0], "uuid": ["null", TYPES["uuid"][0]], "raw": "bytes"}
PARTS |= {"money": MONEY, "odd": "double"}
WITHIN = {"type": "record", "name": "Within", "fields": [{"name": n, "type": t} for n, t in PARTS.items()]}


def test_values_within_others_are_as_json_can_say_them():
    body = schema(("within", ["null", WITHIN]))
    one = {"micros": MOMENT, "day": date(2013, 1, 1), "uuid": str(UUID(int=5)), "raw": b"\xff"}
    one |= {"money": Decimal("1.50"), "odd": float("inf")}
    found, _, refused = decoder(body).decode(written(body, {"within": one}, {"within": None}))
    assert refused == {}
    text, none = found["within"].to_pylist()
    assert none is None
    assert json.loads(text) == {
        "micros": MOMENT.isoformat().replace("+00:00", "Z"),
        "day": "2013-01-01",
        "uuid": str(UUID(int=5)),
        "raw": "/w==",
        "money": "1.50",
        "odd": None,
    }


LINK = {"type": "record", "name": "Link", "fields": [{"name": "next", "type": ["null", "Link"]}]}


@pytest.mark.parametrize("kind", [["null", "string", "long"], ["null", LINK]], ids=["union", "recursive"])
def test_a_schema_that_polars_cannot_read_is_read_one_by_one(kind):
    body = schema(("n", "long"), ("odd", kind), ("when", TYPES["micros"][0]))
    now = datetime(2013, 1, 1, 5, tzinfo=UTC)
    rows = [{"n": n, "odd": None, "when": now} for n in range(3)]
    first, second, third = written(body, *rows)
    reads = decoder(body)
    found, kept, refused = reads.decode([first, second[:-1], third + b"x"])
    assert found.to_pylist() == [{"n": 0, "when": now} | ({} if "long" in kind else {"odd": None})]
    assert reads.columns.left_out == ({"odd"} if "long" in kind else set())
    assert kept.tolist() == [0]
    assert "1 bytes are left after it" in refused[2]
    assert "not an Avro record" in refused[1]


def test_columns_of_the_yaml_decide_and_what_does_not_fit_is_refused():
    body = schema(("n", "long"), ("text", "string"))
    columns = pa.schema([("n", pa.int32()), ("text", pa.int64()), ("more", pa.string())])
    contents = written(body, {"n": 1, "text": "5"}, {"n": 2**40, "text": "6"}, {"n": 3, "text": "seven"})
    found, kept, refused = decoder(body, columns).decode(contents)
    assert found.to_pylist() == [{"n": 1, "text": 5, "more": None}]
    assert kept.tolist() == [0]
    assert "column n" in refused[1]
    assert "column text: 'seven' is not of type long" in refused[2]


@pytest.mark.parametrize("text", ["{", '"string"', '{"type": "record", "name": "R"}', '{"type": "enum", "name": "E"}'])
def test_a_schema_that_is_none_of_a_record_is_told(text):
    with pytest.raises(ValueError, match=r"\w"):
        Written.parse(text, {})


def test_references_are_found():
    price = {"type": "record", "name": "n.Price", "fields": [{"name": "amount", "type": "long"}]}
    body = schema(("n", "long"), ("price", "n.Price"), ("again", ["null", "n.Price"]))
    kind = Written.parse(json.dumps(body), {"n.Price": json.dumps(price)})
    parsed = fastavro.parse_schema(json.loads(json.dumps(body)), named_schemas={"n.Price": price})
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed, {"n": 7, "price": {"amount": 5}, "again": {"amount": 6}})
    assert _together([out.getvalue()], kind, 7)["n"].to_pylist() == [7]
    assert columns_of([_one(out.getvalue(), kind)], kind)[0]["n"].to_pylist() == [7]


@pytest.mark.parametrize(
    ("kind", "writer", "value"),
    [
        (MONEY, "bytes", (123456789).to_bytes(4, "big")),
        ("int", "long", 2**40),
        (TYPES["millis"][0], "long", 10**18),
        (TYPES["day"][0], "int", 2**31 - 1),
    ],
    ids=["a decimal of too many digits", "a long for an int", "seconds of the year 30000", "a day of the year 5881580"],
)
@pytest.mark.parametrize("neighbour", [b"", b"broken"], ids=["alone", "beside a broken one"])
def test_a_value_that_is_none_of_its_type_is_refused_and_no_other(kind, writer, value, neighbour):
    body = schema(("n", "long"), ("v", kind))
    good = written(body, {"n": 1, "v": _small(kind)})[0]
    (bad,) = written(schema(("n", "long"), ("v", writer)), {"n": 2, "v": value})
    found, kept, refused = decoder(body).decode([good, bad, *([neighbour] if neighbour else [])])
    assert [row["n"] for row in found.to_pylist()] == [1]
    assert kept.tolist() == [0]
    assert set(refused) == ({1, 2} if neighbour else {1}), refused


def _small(kind):
    if kind is MONEY:
        return Decimal("1.50")
    return {"int": 1}.get(
        kind if isinstance(kind, str) else "", date(2013, 1, 1) if kind == TYPES["day"][0] else MOMENT
    )


def test_a_decimal_that_no_table_can_hold_is_left_out():
    body = schema(("n", "long"), ("v", MONEY | {"precision": 40}))
    content = bytes([2, 2, 5])
    for messages in ([content], [content, b"broken"]):
        reads = decoder(body)
        found, _, _ = reads.decode(messages)
        assert [row["n"] for row in found.to_pylist()] == [1]


@pytest.mark.parametrize(
    "items",
    ["null", {"type": "record", "name": "Empty", "fields": []}, {"type": "fixed", "name": "None", "size": 0},
     {"type": "record", "name": "Nulls", "fields": [{"name": "a", "type": "null"}]}],
    ids=["null", "a record without fields", "no byte", "a record of nulls"],
)  # fmt: skip
def test_a_list_that_may_go_on_for_ever_is_refused(items):
    with pytest.raises(ValueError, match="takes no byte"):
        Written.parse(json.dumps(schema(("n", {"type": "array", "items": items}))), {})


def test_a_record_within_a_record_within_a_record_ends():
    body = schema(("n", "long"), ("next", ["null", {"type": "record", "name": "L", "fields": [
        {"name": "next", "type": ["null", "L"]}]}]))  # fmt: skip
    found, _, refused = decoder(body).decode(
        [bytes([2]) + b"\x02" * 1_000_000, bytes([2, 2, 2, 0]), bytes([2]) + b"\x02" * 1_900]
    )
    assert [row["n"] for row in found.to_pylist()] == [1]
    assert "contains itself" in refused[0]
    assert "not an Avro record" in refused[2]

"""Protobuf messages, whose schema is compiled when it is met."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tradewind_runtime.sources.messages.protobuf import Compiled, Decoder, _place
from tradewind_runtime.sources.newcolumns import Columns
from tradewind_runtime.sources.schema_registry import Schema

FLIGHT = """
syntax = "proto3";
package air;
import "google/protobuf/timestamp.proto";
import "google/protobuf/struct.proto";
import "places/airport.proto";

message Flight {
  int64 n = 1;
  string carrier = 2;
  optional double delay = 3;
  google.protobuf.Timestamp time = 4;
  Kind kind = 5;
  bytes raw = 6;
  bool late = 7;
  uint64 large = 8;
  repeated string stops = 9;
  places.Airport origin = 10;
  message Leg { int32 miles = 1; int64 large = 2; }
  map<string, int32> seats = 11;
  repeated google.protobuf.Timestamp times = 12;
  google.protobuf.Struct more = 13;
  repeated Leg legs = 14;
}
enum Kind { UNKNOWN = 0; MAIL = 1; }
message Plane { string tail = 1; }
"""
AIRPORT = 'syntax = "proto3"; package places; message Airport { string code = 1; }'
TEXTS = {"flight.proto": FLIGHT, "places/airport.proto": AIRPORT}
TIME = datetime(2013, 1, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return Compiled.of(TEXTS, "flight.proto")


def decoder(kind, columns: pa.Schema | None = None) -> Decoder:
    return Decoder(Columns(columns or pa.schema([]), "ignore" if columns else "add"), fixed=kind)


def test_a_message_is_a_row_with_what_is_nested_as_json(compiled):
    kind = compiled.named("air.Flight")
    full = kind(n=-1, carrier="UA", delay=1.5, kind=1, raw=b"\xff", late=True, large=7, stops=["ORD"], seats={"a": 2})
    full.time.FromDatetime(TIME)
    full.origin.code = "EWR"
    full.legs.add().large = 7
    reads = decoder(kind)
    found, kept, refused = reads.decode([full.SerializeToString(), kind().SerializeToString()])
    assert refused == {}
    assert kept.tolist() == [0, 1]
    assert found.to_pylist() == [
        {
            "n": -1,
            "carrier": "UA",
            "delay": 1.5,
            "time": TIME,
            "kind": "MAIL",
            "raw": b"\xff",
            "late": True,
            "large": 7,
            "stops": '["ORD"]',
            "origin": '{"code":"EWR"}',
            "seats": '{"a":2}',
            "times": None,
            "more": None,
            "legs": '[{"large":"7","miles":0}]',
        },
        {
            "n": 0,
            "carrier": "",
            "delay": None,
            "time": None,
            "kind": "UNKNOWN",
            "raw": b"",
            "late": False,
            "large": 0,
            "stops": None,
            "origin": None,
            "seats": None,
            "times": None,
            "more": None,
            "legs": None,
        },
    ]
    assert found.schema.field("time").type == pa.timestamp("us", "UTC")
    assert reads.columns.left_out == set()


def test_a_broken_message_harms_no_other_and_what_does_not_fit_is_refused(compiled):
    kind = compiled.named("Flight")
    good, large = kind(n=5).SerializeToString(), kind(large=2**64 - 1).SerializeToString()
    found, kept, refused = decoder(kind).decode([good, good[:-1], None, large, good])
    assert kept.tolist() == [0, 4]
    assert found["n"].to_pylist() == [5, 5]
    assert "not a Protobuf message air.Flight" in refused[1]
    assert "tombstone" in refused[2]
    assert "column large" in refused[3]


def test_what_protobuf_has_no_json_of_is_refused_and_no_other(compiled):
    kind = compiled.named("Flight")
    late, odd = kind(n=1), kind(n=2)
    late.times.add().seconds = 10**15
    odd.more["x"] = float("nan")
    _, kept, refused = decoder(kind).decode([m.SerializeToString() for m in (late, odd, kind(n=3))])
    assert kept.tolist() == [2]
    assert {index: reason.split(":")[0] for index, reason in refused.items()} == {0: "field times", 1: "field more"}


def test_any_message_of_the_schema_is_json_and_one_that_nobody_knows_is_refused():
    text = (
        'syntax = "proto3"; import "google/protobuf/any.proto"; message A { google.protobuf.Any any = 1; int32 n = 2; }'
    )
    kind = Compiled.of({"a.proto": text}, "a.proto").named("A")
    known, unknown = kind(), kind()
    known.any.Pack(kind(n=5))
    unknown.any.type_url = "type.googleapis.com/b.B"
    found, kept, refused = decoder(kind).decode([known.SerializeToString(), unknown.SerializeToString()])
    assert json.loads(found["any"][0].as_py()) == {"@type": "type.googleapis.com/A", "n": 5}
    assert (kept.tolist(), [*refused]) == ([0], [1])


@pytest.mark.parametrize("policy", ["quarantine", "strict"])
def test_a_list_that_nobody_has_set_is_no_new_column(compiled, policy):
    kind = compiled.named("Flight")
    known = decoder(kind).decode([kind().SerializeToString()])[0].schema
    scalars = pa.schema([one for one in known if one.name not in ("stops", "origin", "seats", "times", "more", "legs")])
    reads = Decoder(Columns(scalars, policy), fixed=kind)
    assert reads.decode([kind(n=1).SerializeToString()])[0]["n"].to_pylist() == [1]


def test_columns_of_the_yaml_decide(compiled):
    kind = compiled.named("Plane")
    columns = pa.schema([("tail", pa.string()), ("more", pa.int64())])
    found, _, _ = decoder(kind, columns).decode([kind(tail="N1").SerializeToString()])
    assert found.to_pylist() == [{"tail": "N1", "more": None}]


def test_no_message_at_all(compiled):
    found, kept, refused = decoder(compiled.named("Plane")).decode([None])
    assert (found.num_rows, kept.tolist(), list(refused)) == (0, [], [0])


@pytest.mark.parametrize(
    ("texts", "file", "said"),
    [
        ({"a.proto": "syntax ="}, "a.proto", "a.proto:1"),
        ({"a.proto": 'syntax = "proto3"; import "gone.proto";'}, "a.proto", "gone.proto"),
        ({"../a.proto": ""}, "../a.proto", "out of its folder"),
    ],
)
def test_a_schema_that_cannot_be_compiled_is_told(texts, file, said):
    with pytest.raises(ValueError, match=said):
        Compiled.of(texts, file)


def test_a_message_that_is_not_there_is_told(compiled):
    with pytest.raises(ValueError, match=r"no message Train; it has Flight, Plane"):
        compiled.named("Train")
    assert compiled.named(None).DESCRIPTOR.name == "Flight"


@pytest.mark.parametrize(
    ("written", "place", "name"),
    [
        (b"\x00", (0,), "Flight"),
        (b"\x02\x02", (1,), "Plane"),
        (b"\x04\x00\x00", (0, 0), "Leg"),
        (b"\x02\x0e", (7,), None),
    ],
)
def test_the_place_of_a_message_among_those_of_its_schema(compiled, written, place, name):
    assert _place(written + b"rest") == (place, b"rest")
    found = compiled.at(place)
    assert (found.DESCRIPTOR.name if found else None) == name


def test_a_time_of_the_year_30000_is_refused_and_no_other(compiled):
    kind = compiled.named("Flight")
    late, worse = kind(n=2), kind(n=3)
    late.time.seconds = 900_000_000_000
    worse.time.seconds = 2**62
    found, kept, refused = decoder(kind).decode([m.SerializeToString() for m in (kind(n=1), late, worse)])
    assert [row["n"] for row in found.to_pylist()] == [1]
    assert kept.tolist() == [0]
    assert set(refused) == {1, 2}


def test_a_number_that_goes_on_for_ever_ends():
    with pytest.raises(IndexError):
        _place(b"\xff" * 1_000_000)


class Registry:
    """Schemas by their numbers."""

    def __init__(self, *texts: str, **references: str) -> None:
        self.texts, self.references = texts, references

    def schema(self, number: int) -> Schema | None:
        return Schema("PROTOBUF", self.texts[number], self.references) if number < len(self.texts) else None


def test_a_schema_with_any_letters_is_read_and_a_message_of_another_type_is_not():
    text = 'syntax = "proto3"; // café\nmessage A { int64 n = 1; }\nmessage B { string s = 2; }'
    compiled = Compiled.of({"a.proto": text}, "a.proto")
    ours, theirs = compiled.named("A")(n=5), compiled.named("B")(s="x")
    reads = Decoder(Columns(pa.schema([]), "add"), registry=Registry(text))
    head = b"\0\0\0\0\0\0"  # schema 0, its first message
    found, kept, refused = reads.decode([head + one.SerializeToString() for one in (ours, theirs)])
    assert (found.to_pylist(), kept.tolist()) == ([{"n": 5}], [0])
    assert "it has other fields" in refused[1]


def test_references_that_cannot_be_files_refuse_their_messages():
    reads = Decoder(Columns(pa.schema([]), "add"), registry=Registry('syntax = "proto3";', **{"a": "", "a/b": ""}))
    _, _, refused = reads.decode([b"\0\0\0\0\0\0"])
    assert "cannot have the name a/b" in refused[0]

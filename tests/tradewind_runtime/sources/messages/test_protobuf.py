"""Protobuf messages, whose schema is compiled when it is met."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tradewind_runtime.sources.messages.protobuf import Compiled, Decoder, _place
from tradewind_runtime.sources.newcolumns import Columns

FLIGHT = """
syntax = "proto3";
package air;
import "google/protobuf/timestamp.proto";
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
  message Leg { int32 miles = 1; }
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


def test_a_message_is_a_row_and_what_no_table_holds_is_told(compiled):
    kind = compiled.named("air.Flight")
    full = kind(n=-1, carrier="UA", delay=1.5, kind=1, raw=b"\xff", late=True, large=7, stops=["ORD"])
    full.time.FromDatetime(TIME)
    full.origin.code = "EWR"
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
        },
        {"n": 0, "carrier": "", "delay": None, "time": None, "kind": "UNKNOWN", "raw": b"", "late": False, "large": 0},
    ]
    assert found.schema.field("time").type == pa.timestamp("us", "UTC")
    assert reads.columns.left_out == {"stops", "origin"}


def test_a_broken_message_harms_no_other_and_what_does_not_fit_is_refused(compiled):
    kind = compiled.named("Flight")
    good, large = kind(n=5).SerializeToString(), kind(large=2**64 - 1).SerializeToString()
    found, kept, refused = decoder(kind).decode([good, good[:-1], None, large, good])
    assert kept.tolist() == [0, 4]
    assert found["n"].to_pylist() == [5, 5]
    assert "not a Protobuf message air.Flight" in refused[1]
    assert "tombstone" in refused[2]
    assert "column large" in refused[3]


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

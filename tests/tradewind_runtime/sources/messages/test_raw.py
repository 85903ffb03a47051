"""Contents as they are."""

import pyarrow as pa

from tradewind_runtime.sources.messages.raw import Decoder
from tradewind_runtime.sources.newcolumns import Columns


def test_a_content_is_a_value():
    found, kept, refused = Decoder(Columns(pa.schema([]), "add")).decode([b"\x00\xff", None, b""])
    assert found.to_pylist() == [{"value": b"\x00\xff"}, {"value": b""}]
    assert kept.tolist() == [0, 2]
    assert refused == {1: "no content (a tombstone)"}


def test_the_yaml_names_and_types_it():
    found, _, refused = Decoder(Columns(pa.schema([("text", pa.string())]))).decode([b"a", b"\xff"])
    assert found.to_pylist() == [{"text": "a"}]
    assert refused == {1: "column text: not UTF-8"}

"""Lines of CSV without a header."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind_runtime.sources.messages.csv import Decoder
from tradewind_runtime.sources.newcolumns import Columns

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


def decoder(**more: object) -> Decoder:
    return Decoder(Columns(SCHEMA), **({"delimiter": ",", "nulls": ("", "NA")} | more))


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def test_a_line_is_a_row():
    lines = [b"1,a", b'2,"b, ""c""\n d"\r\n', b"3,", b"NA,NA", b'5,""']
    found, kept, refused = decoder().decode(lines)
    assert refused == {}
    assert kept.tolist() == [0, 1, 2, 3, 4]
    assert found.to_pylist() == [
        {"n": 1, "text": "a"}, {"n": 2, "text": 'b, "c"\n d'}, {"n": 3, "text": None}, {"n": None, "text": None},
        {"n": 5, "text": ""},
    ]  # fmt: skip


def test_what_is_none_is_refused_with_a_reason():
    lines = [b"1,a", b"2", b"3,b,c", b"x,d", b"4,e\n5,f", b"", None, b"6,\xff", b'7,"g', b"8,h"]
    found, kept, refused = decoder().decode(lines)
    assert kept.tolist() == [0, 9]
    assert found["n"].to_pylist() == [1, 8]
    assert set(refused) == {1, 2, 3, 4, 5, 6, 7, 8}
    assert refused[1] == "not a line of 2 values: it has 1"
    assert "column n: 'x' is not of type long" in refused[3]
    assert "more than one line" in refused[4]
    assert refused[6] == "no content (a tombstone)"
    assert "UTF8" in refused[7]
    assert "quote" in refused[8]


def test_another_delimiter_and_other_nulls():
    found, _, _ = decoder(delimiter=";", nulls=("-",)).decode([b"1;a,b", b"-;NA"])
    assert found.to_pylist() == [{"n": 1, "text": "a,b"}, {"n": None, "text": "NA"}]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text().filter(lambda text: "\x00" not in text)), min_size=1)
)
def test_what_is_quoted_is_read(rows):
    found, _, refused = decoder().decode([f"{n},{quoted(text)}".encode("utf-8", "surrogatepass") for n, text in rows])
    assert refused == {}
    assert found["n"].to_pylist() == [n for n, _ in rows]
    assert found["text"].to_pylist() == [text for _, text in rows]

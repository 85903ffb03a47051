"""Objects that are read by themselves give what Arrow's parser gives of all at once."""

import json
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.contract.sources import NewColumns
from tradewind_runtime.sources.columns import TIMESTAMP
from tradewind_runtime.sources.messages.json import Decoder
from tradewind_runtime.sources.messages.json_known import reader
from tradewind_runtime.sources.newcolumns import Columns

KNOWN = pa.schema(
    [
        ("n", pa.int64()), ("i", pa.int32()), ("f", pa.float64()), ("b", pa.bool_()), ("s", pa.string()),
        ("t", TIMESTAMP), ("d", pa.date32()), ("class", pa.string()),
    ]
)  # fmt: skip
#: Written in the place of a value: some are none, some no JSON.
TOKENS = (
    "null", "true", "1", "0", "-0", "-0.0", "-7", "2147483648", "9223372036854775807", "9223372036854775808", "1.0",
    "1e3", "1E-2", "0.1", "01", ".5", "1.",
    "+1", "1e400", "NaN", "Infinity", '""', '"x"', '"true"', '"1"', '"2024-02-30"',
    '"2024-02-29"', '"2024-02-29T12:00:00Z"', '"\\u00e9"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\u0000"', '"\\q"',
    '"a\nb"',     "[]", "{}", '[1, "2"]', '{"n": 1}', "", "tru", "//",
)  # fmt: skip


def both(texts: list[bytes]) -> list[tuple[list[dict[str, Any]], list[int], dict[int, str]]]:
    """By themselves, and by Arrow's parser, which looks for new columns."""
    found = []
    for policy in ("ignore", "add"):
        rows, kept, refused = Decoder(Columns(KNOWN, policy)).decode(texts)  # type: ignore[arg-type]
        found.append((rows.select(KNOWN.names).to_pylist(), kept.tolist(), refused))
    return found


@pytest.mark.parametrize("column", KNOWN.names)
def test_each_value_is_taken_or_refused_by_both(column: str) -> None:
    _alike([f'{{"{column}x": [1], "{column}": {token}, "m": []}}'.encode() for token in TOKENS])


def test_what_is_not_read_is_json_all_the_same() -> None:
    lax = ("NaN", "Infinity", "1e400", '"\\ud800"')  # that Arrow lets through
    _alike([f'{{"n": 5, "x": [{token}]}}'.encode() for token in TOKENS if token not in lax])
    _, kept, _ = Decoder(Columns(KNOWN)).decode([f'{{"n": 5, "x": {token}}}'.encode() for token in lax])
    assert set(kept) <= {2, 3}, "which others may read"


def _alike(texts: list[bytes]) -> None:
    (rows, kept, refused), by_arrow = both(texts)
    assert (rows, kept, set(refused)) == (by_arrow[0], by_arrow[1], set(by_arrow[2]))
    assert {row: why for row, why in refused.items() if "column" in why} == {
        row: why for row, why in by_arrow[2].items() if "column" in why
    }
    assert kept, "some are taken"
    assert refused, "some are not"


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "n": st.one_of(st.none(), st.integers(-(2**65), 2**65)),
        "i": st.one_of(st.integers(-(2**33), 2**33), st.booleans()),
        "f": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70), st.text()),
        "b": st.one_of(st.booleans(), st.none(), st.integers(0, 1)),
        "s": st.text(),
        "class": st.one_of(st.text(), st.lists(st.text(), max_size=2)),
        "t": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        "other": st.sampled_from([[], {}, [None, None], [[], ""], {"n": "x"}, None]),
    },
)


@given(st.lists(VALUES, max_size=8), st.booleans())
def test_any_objects_are_read_alike(values: list[dict[str, Any]], ascii_only: bool) -> None:
    found, by_arrow = both([json.dumps(value, ensure_ascii=ascii_only).encode() for value in values])
    assert found[:2] == by_arrow[:2]
    assert {row: why for row, why in found[2].items() if "column" in why} == {
        row: why for row, why in by_arrow[2].items() if "column" in why
    }


@pytest.mark.parametrize(
    "text", ["[]", "null", "1", '"x"', "", " ", "{", '{"n":1,}', '{"n":1}x', '{"n":1}{"n":2}', "\ufeff{}"]
)
def test_what_is_no_object_is_refused_alone(text: str) -> None:
    (rows, kept, refused), _ = both([b'{"n": 1}', text.encode(), b'{"n": 3}'])
    assert [row["n"] for row in rows] == [1, 3]
    assert kept == [0, 2]
    assert set(refused) == {1}


@pytest.mark.parametrize("policy", ["ignore", "add"])
def test_what_goes_on_after_its_object_is_refused_by_arrow_too(policy: NewColumns) -> None:
    """Where Arrow parses many, each is put into an object of its own, which a text must not end by itself."""
    for text in (b'{"n": 1}, "x": {"n": 2}', b'{"n": 1}, "v": {"n": 2}'):
        schema = pa.schema([("n", pa.int64()), ("price", pa.decimal128(9, 2))])
        rows, kept, refused = Decoder(Columns(schema, policy)).decode([b'{"n": 0}', text, b'{"n": 3}'])
        assert (rows["n"].to_pylist(), kept.tolist()) == ([0, 3], [0, 2])
        assert refused[1].startswith("not JSON")


def test_bytes_that_are_no_text_are_refused_also_where_nothing_is_read_of_them() -> None:
    (rows, _, refused), by_arrow = both([b'{"x": "\xff", "n": 1}', b'{"n": 2}', None])  # type: ignore[list-item]
    assert [row["n"] for row in rows] == [2]
    assert refused == by_arrow[2] == {0: "not UTF-8: byte 7", 2: "no content (a tombstone)"}


def test_of_a_name_that_is_there_twice_the_last_counts() -> None:
    for rows, _, refused in both([b'{"n": 1, "n": 2}', b'{"n": 3, "n": "x"}']):
        assert [row["n"] for row in rows] == [2]
        assert refused == {1: 'column n: the string "x" is not of type long'}


def test_numbers_are_the_nearest_there_are() -> None:
    texts = ["0.1", "1e-323", "5e-324", "1.7976931348623157e308", "123456789012345678901234567890", "-0.0"]
    rows, _, refused = Decoder(Columns(KNOWN)).decode([f'{{"f": {text}}}'.encode() for text in texts])
    assert refused == {}
    assert rows["f"].to_pylist() == [float(text) for text in texts]
    assert math.copysign(1, rows["f"].to_pylist()[-1]) == -1


def test_decimals_and_short_floats_are_left_to_arrow() -> None:
    assert reader(KNOWN) is not None
    for kind in (pa.decimal128(9, 2), pa.float32()):
        assert reader(pa.schema([("n", pa.int64()), ("d", kind)])) is None
    assert reader(pa.schema([])) is None

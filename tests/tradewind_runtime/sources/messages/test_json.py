"""JSON that is made to break its parser, or to be read as its neighbour."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.contract.sources import NewColumns
from tradewind_runtime.sources.messages.json import Decoder
from tradewind_runtime.sources.newcolumns import Columns, NewColumnError

KNOWN = pa.schema([("n", pa.int64())])


@pytest.mark.parametrize("policy", ["add", "ignore", "quarantine"])
def test_what_is_nested_too_deeply_is_refused_and_no_other(policy: str) -> None:
    deep = [
        b'{"n": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' * 5_000 + b"1" + b"}" * 5_000,
        b"[" * 100_000,
        b'{"n": 1, "x": ' + b"[" * 201 + b"]" * 201 + b"}",
        b'{"n": 1, "x": ' + b'{"x":' * 200 + b"1" + b"}" * 201,
    ]
    flat = b'{"n": 2' + b" " * 1_000 + b"}"
    found, kept, refused = Decoder(Columns(KNOWN, policy)).decode([b'{"n": 1}', *deep, flat])
    assert found["n"].to_pylist() == [1, 2]
    assert kept.tolist() == [0, 6]
    assert all("nested more than" in refused[index] for index in (1, 2, 3, 4, 5)), refused
    for one in deep:  # by its own brackets or braces, not by its neighbours'
        assert "nested more than" in Decoder(Columns(KNOWN, policy)).decode([flat, one])[2][1]


@pytest.mark.parametrize("policy", ["add", "ignore"])
def test_what_is_not_ascii_hides_no_tombstone_and_no_other_bytes(policy: str) -> None:
    texts = ['{"n": 1, "x": "é"}'.encode(), None, b'{"n": 2, "x": "\xe9"}', b'{"n": 3}']
    found, kept, refused = Decoder(Columns(TEXTS, policy)).decode(texts)
    assert (found.to_pylist(), kept.tolist()) == ([{"n": 1, "x": "é"}, {"n": 3, "x": None}], [0, 3])
    assert list(refused) == [1, 2]
    assert "tombstone" in refused[1]
    assert "UTF-8" in refused[2]
    assert list(Decoder(Columns(TEXTS, policy)).decode(texts[:2])[2]) == [1], "of all that are UTF-8 too"


def test_what_stands_in_a_text_is_not_nested() -> None:
    text = b'{"n": 1, "x": "' + b"[{" * 1_000 + b'\\"[" }'
    found, _, refused = Decoder(Columns(KNOWN, "add")).decode([text])
    assert refused == {}
    assert found["n"].to_pylist() == [1]


def test_decimals_are_read_digit_by_digit() -> None:
    texts = [
        b'{"d": 0.10, "n": 1}', b'{"d": "12.5"}', b'{"d": 3}', b'{"d": 9999999.99}', b'{"d": null}',
        b'{"d": 10000000}', b'{"d": 0.125}', b'{"d": true}', b'{"d": "x"}', b'{"d": 1.5, "n": "x"}',
    ]  # fmt: skip
    schema = pa.schema([("d", pa.decimal128(9, 2)), ("n", pa.int64())])
    found, kept, refused = Decoder(Columns(schema)).decode(texts)
    assert kept.tolist() == [0, 1, 2, 3, 4]
    assert found["d"].to_pylist() == [Decimal("0.10"), Decimal("12.50"), Decimal(3), Decimal("9999999.99"), None]
    assert {index: reason.split(":")[0] for index, reason in refused.items()} == {
        5: "column d", 6: "column d", 7: "column d", 8: "column d", 9: "column n",
    }  # fmt: skip
    assert "is not of type decimal(9,2)" in refused[6]


TEXTS = pa.schema([*KNOWN, ("x", pa.string())])
ODD = ["[null, null]", '[[], ""]', '[1, "x"]', '{"a": [null, null]}', '{"a": 1, "a": []}', '{ "é":"\\u00e9\\n" }']


@pytest.mark.parametrize("policy", ["add", "ignore", "quarantine", "strict"])
@pytest.mark.parametrize("nested", ODD)
def test_a_column_of_strings_holds_lists_and_objects_as_they_are_written(policy: NewColumns, nested: str) -> None:
    """Arrow can join no lists of nulls, and allows one type of value in a list."""
    texts = [b'{"n": 1}', f'{{"n": 2, "x": {nested}}}'.encode(), b'{"n": 3, "x": "[]"}', b'{"n": 4, "x": []}']
    texts += [b'{"n": 5, "x": 1}', b'{"n": 6, "x": null}', b'{"n": [7]}']
    found, _, refused = Decoder(Columns(TEXTS, policy)).decode(texts)
    assert found.to_pylist() == [
        {"n": 1, "x": None}, {"n": 2, "x": nested}, {"n": 3, "x": "[]"}, {"n": 4, "x": "[]"}, {"n": 6, "x": None},
    ]  # fmt: skip
    assert {index: reason.split(" ")[1] for index, reason in refused.items()} == {4: "x:", 6: "n:"}


@pytest.mark.parametrize("nested", ODD)
def test_lists_and_objects_in_columns_that_are_not_known_are_new_ones(nested: str) -> None:
    texts = [b'{"n": 1}', f'{{"n": 2, "x": {nested}}}'.encode(), b'{"n": 3, "x": []}']
    found, _, refused = Decoder(Columns(KNOWN, "add")).decode(texts)
    assert (found.to_pylist(), refused) == (
        [{"n": 1, "x": None}, {"n": 2, "x": nested}, {"n": 3, "x": "[]"}], {},
    )  # fmt: skip
    found, _, refused = Decoder(Columns(KNOWN, "ignore")).decode(texts)
    assert (found.to_pylist(), refused) == ([{"n": 1}, {"n": 2}, {"n": 3}], {})
    found, _, refused = Decoder(Columns(KNOWN, "quarantine")).decode(texts)
    assert (found.to_pylist(), [*refused]) == ([{"n": 1}], [1, 2])
    with pytest.raises(NewColumnError):
        Decoder(Columns(KNOWN, "strict")).decode(texts)


@pytest.mark.parametrize("columns", [Columns(KNOWN, "add"), Columns(TEXTS, "add"), Columns(TEXTS), Columns(KNOWN)])
@pytest.mark.parametrize("before", [[], [b'{"n": 1, "x": [1]}']], ids=["first", "after another"])
def test_what_is_no_json_is_refused_also_within_a_list(columns: Columns, before: list[bytes]) -> None:
    texts = [*before, b'{"n": 2, "x": [NaN, 1.10]}', b'{"n": 3, "x": [1.10]}']
    found, _, refused = Decoder(replace(columns)).decode(texts)
    assert list(refused) == [len(before)]
    assert "NaN is not JSON" in refused[len(before)]
    if "x" in found.column_names:
        assert found["x"].to_pylist() == ["[1]"] * len(before) + ["[1.10]"]


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NESTED = st.recursive(
    st.lists(PLAIN) | st.dictionaries(st.text(), PLAIN),
    lambda inner: st.lists(PLAIN | inner) | st.dictionaries(st.text(), PLAIN | inner),
    max_leaves=8,
)


@given(st.lists(st.none() | st.text() | NESTED, min_size=1, max_size=8), st.sampled_from(["add", "ignore"]))
def test_whatever_is_nested_is_there_as_json(values: list[Any], policy: NewColumns) -> None:
    texts = [json.dumps({"n": n, "x": value}, ensure_ascii=n % 2 == 0).encode() for n, value in enumerate(values)]
    decoder = Decoder(Columns(TEXTS, policy))
    for some in (texts, texts[:1]):
        found, _, refused = decoder.decode(some)
        assert refused == {}
        for text, value in zip(found["x"].to_pylist(), values, strict=False):
            assert (json.loads(text) if isinstance(value, list | dict) else text) == value


def test_a_new_column_beside_what_arrow_cannot_read_is_taken_in() -> None:
    texts = [b'{"n": 1, "x": [[], ""], "d": 0.10}', b'{"n": 2, "d": 0.30}', b'{"n": 3, "d": ']
    found, kept, refused = Decoder(Columns(KNOWN, "add")).decode(texts)
    assert found.to_pylist() == [{"n": 1, "x": '[[], ""]', "d": 0.1}, {"n": 2, "x": None, "d": 0.3}]
    assert kept.tolist() == [0, 1]
    assert "not JSON" in refused[2]

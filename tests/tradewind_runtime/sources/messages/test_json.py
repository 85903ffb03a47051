"""JSON that is made to break its parser, or to be read as its neighbour."""

from decimal import Decimal

import pyarrow as pa
import pytest

from tradewind_runtime.contract.sources import NewColumns
from tradewind_runtime.sources.messages.json import Decoder
from tradewind_runtime.sources.newcolumns import Columns

KNOWN = pa.schema([("n", pa.int64())])


@pytest.mark.parametrize("policy", ["add", "ignore", "quarantine"])
def test_what_is_nested_too_deeply_is_refused_and_no_other(policy: str) -> None:
    deep = [
        b'{"n": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' * 5_000 + b"1" + b"}" * 5_000,
        b"[" * 100_000,
        b'{"n": 1, "x": ' + b"[" * 201 + b"]" * 201 + b"}",
    ]
    found, kept, refused = Decoder(Columns(KNOWN, policy)).decode([b'{"n": 1}', *deep])
    assert found.to_pylist()[0]["n"] == 1
    assert kept.tolist() == [0]
    assert all("nested more than" in refused[index] for index in (1, 2, 3, 4)), refused


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


@pytest.mark.parametrize("policy", ["add", "ignore", "quarantine", "strict"])
@pytest.mark.parametrize("nested", ["[null, null]", '[[], ""]', '[1, "x"]', '{"a": [null, null]}', '{"a": 1, "a": []}'])
def test_what_no_table_can_hold_may_be_anything(policy: NewColumns, nested: str) -> None:
    """Arrow can join no lists of nulls, and allows one type of value in a list."""
    columns = Columns(KNOWN, policy)
    texts = [b'{"n": 1}', f'{{"n": 2, "x": {nested}}}'.encode(), b'{"n": 3, "x": []}']
    found, _, refused = Decoder(columns).decode(texts)
    assert refused == {}
    assert found.to_pylist() == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert columns.left_out == (set() if policy == "ignore" else {"x"})


def test_a_new_column_beside_what_arrow_cannot_read_is_taken_in() -> None:
    texts = [b'{"n": 1, "x": [[], ""], "d": 0.10}', b'{"n": 2, "d": 0.30}', b'{"n": 3, "d": ']
    found, kept, refused = Decoder(Columns(KNOWN, "add")).decode(texts)
    assert found.to_pylist() == [{"n": 1, "d": 0.1}, {"n": 2, "d": 0.3}]
    assert kept.tolist() == [0, 1]
    assert "not JSON" in refused[2]

"""JSON that is made to break its parser, or to be read as its neighbour."""

import pyarrow as pa
import pytest

from tradewind_runtime.sources.messages.json import Decoder
from tradewind_runtime.sources.newcolumns import Columns

KNOWN = pa.schema([("n", pa.int64())])


@pytest.mark.parametrize("policy", ["add", "ignore", "quarantine"])
def test_what_is_nested_too_deeply_is_refused_and_no_other(policy: str) -> None:
    deep = [
        b'{"n": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' * 5_000 + b"1" + b"}" * 5_000,
        b"[" * 100_000,
    ]
    found, kept, refused = Decoder(Columns(KNOWN, policy)).decode([b'{"n": 1}', *deep])
    assert found.to_pylist()[0]["n"] == 1
    assert kept.tolist() == [0]
    assert all("nested more than" in refused[index] for index in (1, 2, 3)), refused


def test_what_stands_in_a_text_is_not_nested() -> None:
    text = b'{"n": 1, "x": "' + b"[{" * 1_000 + b'\\"[" }'
    found, _, refused = Decoder(Columns(KNOWN, "add")).decode([text])
    assert refused == {}
    assert found["n"].to_pylist() == [1]

"""Each row says where it is from, whatever order its message was decoded in."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.kafka_rows import Messages, Rows

MESSAGES = Messages(
    values=[b"a", b"b", b"c", b"d"], partitions=[7, 0, 7, 2], offsets=[3, 9, 4, 0], times=[0, 1_000, None, 2_000]
)


def rows() -> Rows:
    source = Source.model_validate({"kafka": {"topic": "t", "format": "raw"}})
    return Rows.of(source, Access(lake=Lake("memory:///")), None)


def places(table: pa.Table) -> list[tuple[str, int, datetime | None]]:
    return [(row["_source"], row["_position"], row["_timestamp"]) for row in table.to_pylist()]


EACH = [
    ("t-7", 3, datetime(1970, 1, 1, tzinfo=UTC)),
    ("t-0", 9, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    ("t-7", 4, None),
    ("t-2", 0, datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)),
]


def test_of_all() -> None:
    table, refused = rows().made(MESSAGES)
    assert (table["value"].to_pylist(), refused) == ([b"a", b"b", b"c", b"d"], {})
    assert places(table) == EACH


@pytest.mark.parametrize("none", [-1, -(2**63), 253_402_300_800_000, 2**63 - 1])
def test_a_time_that_is_none_is_null_and_no_other(none: int) -> None:
    messages = Messages(MESSAGES.values, MESSAGES.partitions, MESSAGES.offsets, [0, none, None, 253_402_300_799_999])
    moments = rows().made(messages)[0]["_timestamp"].to_pylist()
    last = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert moments == [datetime(1970, 1, 1, tzinfo=UTC), None, None, last]


def test_a_tombstone_leaves_the_others_where_they_are() -> None:
    table, refused = rows().made(Messages([b"a", None, b"", b"d"], [7, 0, 7, 2], [3, 9, 4, 0], MESSAGES.times))
    assert table["value"].to_pylist() == [b"a", b"", b"d"]
    assert list(refused) == [1]
    assert places(table) == [EACH[0], EACH[2], EACH[3]]


@pytest.mark.parametrize("order", [[1, 0, 3, 2], [3, 1], [2]])
def test_decoded_in_another_order(order: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As of Avro, whose messages are decoded schema by schema."""
    made = rows()
    table = pa.table({"value": [MESSAGES.values[index] for index in order]})
    monkeypatch.setattr(made.decodes, "decode", lambda _: (table, np.array(order), {}))
    assert places(made.made(MESSAGES)[0]) == [EACH[index] for index in order]

"""Refused rows as a table holds them."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from tests.tradewind_runtime.tables import new_lake

from tradewind_runtime.quarantine import SCHEMA, Bad, held, to_arrow
from tradewind_runtime.snapshot import Snapshot


@pytest.mark.parametrize("stamp", [1_700_000_000_000_000_000, 1_700_000_000_000_000, -1])
def test_a_stamp_that_is_none_holds_nothing_up(stamp: int) -> None:
    """Such as one that a producer has written as nanoseconds."""
    good, wrong = Bad("t-0", 1, "x", b"1", time=1_357_000_000_000), Bad("t-0", 2, "x", b"2", time=stamp)
    found = to_arrow([good, wrong], "ingest").to_pylist()
    assert [row["time"] for row in found] == [datetime(2013, 1, 1, 0, 26, 40, tzinfo=UTC), None]


def test_of_many_refused_rows_those_alone_are_read_that_may_be_the_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    table, dataset, read = new_lake().table("p/q"), Snapshot.dataset, []

    class Seen:
        def __init__(self, of: ds.Dataset) -> None:
            self.of = of

        def to_batches(self, *, filter: pc.Expression, **more: object) -> list[pa.RecordBatch]:
            found = list(self.of.to_batches(filter=filter, **more))
            read.append(sum(batch.num_rows for batch in found))
            return found

    every = [Bad("t-0", at, "x", b"%d" % at) for at in range(1_000)]
    table.commit(table.stage(to_arrow(every, "ingest").to_batches(), SCHEMA), schema=SCHEMA)
    monkeypatch.setattr(Snapshot, "dataset", lambda self: Seen(dataset(self)))
    asked = [every[500], every[502], Bad("t-0", 501, "x", b"another"), Bad("t-1", 500, "x", b"500")]
    assert held(table.snapshot(), asked, "ingest") == {("t-0", 500, b"500"), ("t-0", 502, b"502")}
    assert held(table.snapshot(), [], "ingest") == set()
    assert read == [3]

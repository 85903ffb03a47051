"""Refused rows as a table holds them."""

from datetime import UTC, datetime

import pytest

from tradewind_runtime.quarantine import Bad, to_arrow


@pytest.mark.parametrize("stamp", [1_700_000_000_000_000_000, 1_700_000_000_000_000, -1])
def test_a_stamp_that_is_none_holds_nothing_up(stamp: int) -> None:
    """Such as one that a producer has written as nanoseconds."""
    good, wrong = Bad("t-0", 1, "x", b"1", time=1_357_000_000_000), Bad("t-0", 2, "x", b"2", time=stamp)
    found = to_arrow([good, wrong], "ingest").to_pylist()
    assert [row["time"] for row in found] == [datetime(2013, 1, 1, 0, 26, 40, tzinfo=UTC), None]

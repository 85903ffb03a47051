"""What is there twice or beyond what was committed is told; gaps are counted, and are no error."""

import numpy as np
import pyarrow as pa
import pytest
from tests.tradewind_runtime.tables import ingested

from tradewind_runtime.lake import Lake
from tradewind_runtime.reconcile import Asked
from tradewind_runtime.verify import verify_table


@pytest.fixture
def lake(lake_uri):
    return Lake(lake_uri)


def verified(lake):
    return {one.source: one for one in verify_table(lake, "p/t_raw")}


def test_every_offset_is_a_row_or_a_refused_one(lake):
    ingested(lake, "t-0", [0, 1, 3], committed=4, refused=[2])
    ingested(lake, "t-1", [7, 8], committed=9)  # the broker had deleted what was before
    first, second = verified(lake).values()
    assert (first.rows, first.quarantined, first.doubles, first.gaps, first.ok) == (3, 1, 0, 0, True)
    assert (first.first, first.last, first.committed) == (0, 3, 4)
    assert (second.rows, second.gaps, second.ok) == (2, 0, True)


def test_a_gap_is_counted_and_is_no_error(lake):
    ingested(lake, "t-0", [0, 1, 3], committed=5)  # 2 and 4: markers of transactions hold an offset and no message
    found = verified(lake)["t-0"]
    assert (found.gaps, found.doubles, found.ok) == (2, 0, True)


def test_a_row_that_is_there_twice(lake):
    ingested(lake, "t-0", [0, 1, 1, 2], committed=3)
    found = verified(lake)["t-0"]
    assert (found.rows, found.doubles, found.gaps, found.ok) == (4, 1, 0, False)


@pytest.mark.parametrize("refused", [[1], [2, 2]])
def test_an_offset_that_is_a_row_and_refused_or_refused_twice(lake, refused):
    ingested(lake, "t-0", [0, 1], committed=3, refused=refused)
    found = verified(lake)["t-0"]
    assert (found.doubles, found.ok) == (1, False)


def test_a_row_beyond_the_committed_position(lake):
    ingested(lake, "t-0", [0, 1, 2], committed=2)
    found = verified(lake)["t-0"]
    assert (found.last, found.committed, found.ok) == (2, 2, False)


def test_what_checks_refused_is_in_the_table_and_not_twice(lake):
    ingested(lake, "t-0", [0, 1], committed=2, refused=[1], stage="check")
    found = verified(lake)["t-0"]
    assert (found.rows, found.quarantined, found.ok) == (2, 0, True)


def test_an_object_that_was_mended_is_not_there_twice(lake):
    ingested(lake, "weather/2013-01.csv", [0, 1, 2], refused=[1])  # refused in its earlier version
    found = verified(lake)["weather/2013-01.csv"]
    assert (found.rows, found.committed, found.gaps, found.ok) == (3, None, 0, True)
    ingested(lake, "weather/2013-01.csv", [2])
    assert verified(lake)["weather/2013-01.csv"].doubles == 1


def test_a_refused_row_that_goes_while_the_source_is_asked_is_not_lost(lake):
    ingested(lake, "t-0", [0, 2], committed=3, refused=[1])

    def ask(_, __):
        quarantine = lake.table("p/t_quarantine")
        quarantine.commit([], schema=quarantine.schema(), replace="all")
        assert quarantine.snapshot().count() == 0
        return [Asked("t-0", np.arange(3))]

    (found,) = verify_table(lake, "p/t_raw", ask)
    assert (found.lost, found.quarantined, found.ok) == (0, 1, True)


def test_a_table_that_nothing_was_ingested_into_has_no_lines(lake):
    lake.table("p/t").create(pa.schema([("n", pa.int64())]))
    assert verify_table(lake, "p/t") == []

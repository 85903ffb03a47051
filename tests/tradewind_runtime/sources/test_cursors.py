"""What a cursor's rows are found by in a table, when they are read again."""

from datetime import timedelta

import pyarrow as pa
import pytest

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.cursors import Cursor

TIME, DATE = pa.timestamp("us"), pa.date32()


@pytest.mark.parametrize(("source", "table"), [(TIME, TIME), (DATE, DATE), (DATE, TIME), (pa.int32(), pa.int64())])
def test_a_column_that_tells_as_much_finds_them(source, table):
    Cursor.of("at", timedelta(hours=1), pa.schema([("at", source)])).require(pa.schema([("at", table)]))


@pytest.mark.parametrize(("source", "table"), [(TIME, DATE), (TIME, pa.string()), (pa.int64(), TIME)])
def test_one_that_tells_less_does_not(source, table):
    cursor = Cursor.of("at", timedelta(hours=1), pa.schema([("at", source)]))
    with pytest.raises(StepError, match=r"TW527.*rows that are read again"):
        cursor.require(pa.schema([("at", table)]))
    with pytest.raises(StepError, match="TW527"):
        cursor.require(pa.schema([("other", source)]))

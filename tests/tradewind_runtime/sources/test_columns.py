"""What ingestion gives each row is what the contract says, by which a YAML is checked."""

import pyarrow as pa
import pytest

from tradewind_runtime.contract.sources import PROVENANCE
from tradewind_runtime.sources.columns import RESERVED, TIMESTAMP, conform, convert


def test_provenance_is_the_contracts() -> None:
    assert set(PROVENANCE) == RESERVED


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([0, 10**18], pa.timestamp("us", "UTC")), TIMESTAMP),
        (pa.array([0, 10**15], pa.timestamp("ms")), TIMESTAMP),
        (pa.array(["2013-01-01", "20130-01-01T00:00:00Z"]), TIMESTAMP),
        (pa.array([0, 2**31 - 1], pa.date32()), pa.date32()),
    ],
)
def test_a_time_beyond_the_year_9999_is_refused(array: pa.Array, kind: pa.DataType) -> None:
    typed, wrong = convert(array, kind)
    assert wrong == [1]
    assert typed[1].as_py() is None
    rows = conform(pa.table({"t": array}), pa.schema([("t", kind)]))
    assert set(rows.refused) == {1}
    assert "column t" in rows.refused[1]

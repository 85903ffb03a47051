"""What ingestion gives each row is what the contract says, by which a YAML is checked."""

from decimal import Decimal

import pyarrow as pa
import pytest

from tradewind_runtime.contract.sources import PROVENANCE
from tradewind_runtime.sources.columns import RESERVED, TIMESTAMP, TYPES, conform, convert, type_of, word


def test_provenance_is_the_contracts() -> None:
    assert set(PROVENANCE) == RESERVED


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([0, 10**18], pa.timestamp("us", "UTC")), TIMESTAMP),
        (pa.array([0, 10**15], pa.timestamp("ms")), TIMESTAMP),
        (pa.array(["2013-01-01", "20130-01-01T00:00:00Z"]), TIMESTAMP),
        (pa.array([0, 2**31 - 1], pa.date32()), pa.date32()),
        # Of these as many microseconds are another time, by the arithmetic of 64 bits.
        (pa.array([0, 2**62], pa.timestamp("ms", "UTC")), TIMESTAMP),
        (pa.array([0, 2**58], pa.timestamp("s")), TIMESTAMP),
        (pa.array([0, 2**31 - 1], pa.date32()), TIMESTAMP),
        (pa.array([0, 86_400_000 * 2**36], pa.date64()), TIMESTAMP),
    ],
)
def test_a_time_beyond_the_year_9999_is_refused(array: pa.Array, kind: pa.DataType) -> None:
    typed, wrong = convert(array, kind)
    assert wrong == [1]
    assert typed[1].as_py() is None
    rows = conform(pa.table({"t": array}), pa.schema([("t", kind)]))
    assert set(rows.refused) == {1}
    assert "column t" in rows.refused[1]


@pytest.mark.parametrize(
    ("array", "wanted", "wrong"),
    [
        (pa.array(["12.5", " -0.01 ", "1e2", "1.234", "twelve", "123456.00"]), "12.50 -0.01 100.00", [3, 4, 5]),
        (pa.array([b"7", b"\xff", None]), "7.00", [1]),
        (pa.array([3, -99999, 100_000], pa.int64()), "3.00 -99999.00", [2]),
        (pa.array([0.1, 2.5, 0.125, float("nan")]), "0.10 2.50", [2, 3]),
        (pa.array([Decimal("1.500"), Decimal("1.005")]), "1.50", [1]),
        (pa.array([True, False]), "", [0, 1]),
        (pa.array([None, None]), "", []),
    ],
)
def test_a_decimal_is_what_is_written_and_never_rounded(array: pa.Array, wanted: str, wrong: list[int]) -> None:
    typed, refused = convert(array, type_of("decimal(7,2)"))
    assert refused == wrong
    assert typed.drop_null().to_pylist() == [Decimal(text) for text in wanted.split()]


@pytest.mark.parametrize("kind", [*TYPES, "decimal(1,0)", "decimal(38,38)"])
def test_a_type_and_its_word(kind: str) -> None:
    assert word(type_of(kind)) == kind

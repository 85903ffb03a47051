"""What DuckDB finds of all rows at once is what pandas finds, of any type, in little memory, and only of many rows."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.servers import buckets
from tests.tradewind_runtime.checkable import House, rows
from tests.tradewind_runtime.reducible import ASKED_HERE, REDUCED, column, same_answers, wide

from tradewind_runtime import reducing, sifting
from tradewind_runtime.connections import Connection
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.engines.duckdb.database import opened
from tradewind_runtime.engines.duckdb.reducing import BySql, reducer
from tradewind_runtime.expectations import Suite
from tradewind_runtime.lake import Lake
from tradewind_runtime.snapshot import Snapshot

NAMES = ("c", 'a "b')
MOMENTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2262, 1, 1, 1, 2, 3, 4, tzinfo=UTC),
]
#: Values of each type, of which rows are drawn.
KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int64": (pa.int64(), [0, 1, -1, 2**40, -(2**40), 7]),
    "int16": (pa.int16(), [0, 1, -1, 2**15 - 1, -(2**15)]),
    "double": (pa.float64(), [0.0, -0.0, math.nan, 1.5, -2.25, 1e18]),
    "endless": (pa.float64(), [math.inf, -math.inf, math.nan, 1.5, 0.0]),
    "float": (pa.float32(), [0.0, -0.0, math.nan, 1.5, 0.1]),
    "decimal": (pa.decimal128(38, 3), [Decimal(n) / 1000 for n in (0, 1, -1, 10**20, 1000)]),
    # No text with a NUL: pandas takes it for one that ends there, where it looks at several columns at once.
    "string": (pa.string(), ["", "a", "A", "é", "e\u0301", "a ", "ß", "\U0001f600", "\uffff"]),
    "bool": (pa.bool_(), [True, False]),
    "date": (pa.date32(), [date(1970, 1, 1), date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29)]),
    "local": (pa.timestamp("us"), [one.replace(tzinfo=None) for one in MOMENTS]),
    "zoned": (pa.timestamp("us", "UTC"), MOMENTS),
    "binary": (pa.binary(), [b"", b"a", b"a\0", b"\xff"]),
}


def asked(kind: pa.DataType, values: Sequence[Any]) -> list[dict[str, Any]]:
    """All that can be asked of a column of that type, and reduced."""
    some, ignored = list(values[:2]), ("never", "all_values_are_missing", "any_value_is_missing")
    found = [
        *(column("values_to_be_unique", of, mostly=0.5) for of in NAMES),
        *({"expect_compound_columns_to_be_unique": {"column_list": [*NAMES], "ignore_row_if": one}} for one in ignored),
        column("unique_value_count_to_be_between", "c", max_value=2),
        column("proportion_of_unique_values_to_be_between", "c", max_value=0.5),
        column("proportion_of_non_null_values_to_be_between", "c", max_value=0.5),
        *(column(f"distinct_values_to_{so}_set", "c", value_set=some) for so in ("be_in", "equal", "contain")),
        column("most_common_value_to_be_in_set", "c", value_set=some),
    ]
    # Great Expectations takes no bound of such a type.
    if not any(is_so(kind) for is_so in (pa.types.is_string, pa.types.is_binary)):
        found += [column(f"{name}_to_be_between", "c", min_value=values[0]) for name in ("max", "min")]
    if reducing.summed(kind):
        found += [column(f"{name}_to_be_between", "c", min_value=1) for name in ("sum", "mean")]
    return found


def suite_of(given: Sequence[dict[str, Any]], raw: Snapshot) -> Suite:
    return Suite(
        "flights", CheckConfig.model_validate({"source": "flights", "expectations": given}).expectations, raw.schema
    )


def step(scratch: Path, memory: str = "1GB") -> StepContext:
    settings = {"duckdb": {"memory": memory}}
    request = StepRequest(
        step="check", id="check_flights", pipeline="p", run_id="r", lake="file:///", settings=settings
    )
    return StepContext(request, Lake("file:///"), scratch)


def both(raw: Snapshot, suite: Suite, scratch: Path) -> tuple[Any, Any]:
    """By pandas, and by DuckDB where it can."""
    part = sifting.Part(raw, 0, raw.count())
    with reducer(step(scratch), part) as by_sql:
        found = reducing.reduced(suite, [part], by_sql)
    return sifting.Here(part).judge(suite), suite.validate(lambda columns: sifting.chunks(raw, columns), found)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "a lake")


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value is many."""
    monkeypatch.setattr(reducing, "MANY", 0)


@pytest.mark.parametrize("missing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("name", KINDS)
def test_of_any_type_all_is_found_that_pandas_finds(house: House, tmp_path: Path, name: str, missing: float) -> None:
    kind, values = KINDS[name]
    pick = random.Random(f"{name} {missing}")

    def drawn(share: float) -> pa.Array:
        return pa.array([None if pick.random() < share else pick.choice(values) for _ in range(40)], kind)

    table = pa.table(dict(zip(NAMES, [drawn(missing), drawn(0.2)], strict=True)))
    house.add(table.slice(0, 15))
    house.add(table.slice(15))
    raw = house.raw.snapshot()
    suite = suite_of(asked(kind, values), raw)
    assert all(reducing.reducible(one, raw.schema) for one in suite.expectations)
    same_answers(*both(raw, suite, tmp_path))


def test_what_spark_reduces_is_reduced_here_too(house: House, tmp_path: Path) -> None:
    for seed, (first, count) in enumerate([(0, 90), (90, 7), (97, 60)]):
        house.add(wide(count, first, seed))
    raw = house.raw.snapshot()
    same_answers(*both(raw, suite_of(REDUCED + ASKED_HERE, raw), tmp_path))


def test_values_are_told_apart_exactly_whatever_is_missing(house: House, tmp_path: Path) -> None:
    large = 1_780_000_000_000_000_000
    house.add(
        pa.table({
            "id": [large + 1, None, large + 2, large + 3, large + 3], "wraps": [2**62] * 4 + [None],
            "price": pa.array([Decimal("99.99"), None, *[Decimal("0.10")] * 3], pa.decimal128(9, 2)),
            "day": [date(2024, 1, 2), None, *[date(2024, 1, 3)] * 3],
            "at": pa.array([MOMENTS[0], None, *[MOMENTS[2]] * 3], pa.timestamp("us", "UTC")),
        })
    )  # fmt: skip
    wanted = {
        "id": [large + 3], "price": ["0.1"], "day": ["2024-01-03"], "at": [MOMENTS[2].isoformat()],
    }  # fmt: skip
    holding = [
        *(column("most_common_value_to_be_in_set", of, value_set=some) for of, some in wanted.items()),
        *(column("distinct_values_to_contain_set", of, value_set=some) for of, some in wanted.items()),
        *(column("max_to_be_between", of, min_value=wanted[of][0]) for of in ("id", "day", "at")),
        column("min_to_be_between", "price", min_value=0.1),
        column("sum_to_be_between", "id", min_value=4 * large + 9),
        column("sum_to_be_between", "wraps", min_value=2**64),
    ]
    failing = [
        column("values_to_be_unique", "id", mostly=0.9),
        column("distinct_values_to_equal_set", "id", value_set=[large + 1, large + 3]),
        column("max_to_be_between", "id", max_value=large + 2),
        column("sum_to_be_between", "id", max_value=4 * large + 8),
    ]
    raw = house.raw.snapshot()
    here, there = both(raw, suite_of(holding + failing, raw), tmp_path)
    same_answers(here, there)
    assert [one.success for one in there] == [True] * len(holding) + [False] * len(failing)
    assert there[len(holding)].failing.tolist() == [3, 4]


def test_ends_are_found_of_what_has_them_by_order_alone(house: House, tmp_path: Path) -> None:
    words, days = ["b", "é", "A", "\U0001f600", "\uffff"], [date(2020, 1, n) for n in range(1, 6)]
    house.add(pa.table({"word": words, "day": days}))
    ends = [column(f"{end}_to_be_between", "day", min_value=date(2020, 1, 2)) for end in ("max", "min")]
    raw = house.raw.snapshot()
    same_answers(*both(raw, suite_of(ends, raw), tmp_path))
    with reducer(step(tmp_path), sifting.Part(raw, 0, 5)) as by_sql:
        figures = by_sql.figures(["word"])["word"]
    assert (figures.low, figures.high) == (min(words), max(words))


@pytest.mark.parametrize("values", [[0.1 * n for n in range(50)] + [1e6 / 3], [4.5], [1e150, -1e150, 7.0]])
def test_sums_of_broken_numbers_are_the_same_but_for_their_last_digits(
    house: House, tmp_path: Path, values: list[float]
) -> None:
    house.add(rows(len(values), delay=values))
    raw = house.raw.snapshot()
    names = ("sum", "mean", "stdev")
    suite = suite_of([column(f"{name}_to_be_between", of, min_value=0) for name in names for of in ("delay", "n")], raw)
    for here, there in zip(*both(raw, suite, tmp_path), strict=True):
        told = [one.raw.result["observed_value"] for one in (here, there)]
        assert (told[0] is None) == (told[1] is None), here.text
        assert told[0] is None or told[1] == pytest.approx(told[0], rel=1e-12), here.text
        assert there.success == here.success


@pytest.mark.usefixtures("many")
def test_the_step_takes_and_refuses_what_it_does_by_pandas(
    tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = House(tmp_path / "another")
    for one in (house, other):
        one.add(wide(90, 0, 0))
        one.add(wide(30, 90, 1))
    suite = (
        column("values_to_be_unique", "n", mostly=0.1),
        column("values_to_not_be_null", "carrier", mostly=0.5),
        column("mean_to_be_between", "n", min_value=1),
    )
    by_sql = house.check(*suite)
    monkeypatch.setattr(reducing, "MANY", 10**6)
    monkeypatch.setattr(BySql, "__init__", None)
    by_pandas = other.check(*suite)
    assert by_sql.metrics == by_pandas.metrics
    assert by_sql.facts == by_pandas.facts
    assert house.positions() == other.positions()
    assert 0 < len(house.positions()) < 120
    refused = [sorted(row["content"] for row in one.quarantined()) for one in (house, other)]
    assert refused[0] == refused[1]


def test_only_many_values_are_given_to_sql(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add(rows(50))
    raw = house.raw.snapshot()
    unique = [column("values_to_be_unique", "n"), column("values_to_be_unique", "at")]
    elsewhere = [column("median_to_be_between", "delay", min_value=0), column("values_to_not_be_null", "carrier")]
    assert reducing.size(suite_of(unique + elsewhere, raw), 50) == 100
    asked: list[str] = []

    def counting(of: Any, columns: Sequence[str], there: Any, repeated: Any = BySql.repeated) -> Any:
        asked.extend(columns)
        return repeated(of, columns, there)

    monkeypatch.setattr(BySql, "repeated", counting)
    monkeypatch.setattr(reducing, "MANY", 100)
    house.check(*unique)
    assert asked == []
    monkeypatch.setattr(reducing, "MANY", 99)
    house.add(rows(50, first=50))
    house.check(*unique, run="r2")
    assert asked == ["n", "at"]


def test_what_memory_does_not_hold_goes_to_the_steps_folder(house: House, tmp_path: Path) -> None:
    texts = [f"a text that is too long to be kept within a number, {n}" for n in range(400_000)]
    house.add(pa.table({"text": [*texts, texts[7]]}))
    part = sifting.Part(house.raw.snapshot(), 0, 400_001)
    with opened(step(tmp_path, "40MB")) as database:
        found = BySql(database, part).repeated(["text"], "all")
        assert found[0] == 400_001
        assert found[1].tolist() == [7, 400_000]
        database.execute("SET max_temp_directory_size = '1MB'")
        with pytest.raises(Exception, match=r"(?i)out of memory|max_temp_directory_size"):
            BySql(database, part).repeated(["text"], "all")


@pytest.mark.usefixtures("many")
def test_a_database_that_fails_is_told_and_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add(rows(50))

    def gone(*_: Any) -> Iterator[pa.Table]:
        yield house.raw.snapshot().to_arrow(["n"])
        raise OSError("the lake is gone")

    monkeypatch.setattr(sifting, "chunks", gone)
    with pytest.raises(StepError, match="the lake is gone") as told:
        house.check(column("values_to_be_unique", "n"))
    assert told.value.problems[0].code == "TW546"
    assert told.value.retryable
    assert not house.checked.exists()


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("error", [SystemExit(143), StepError("TW520", "a file is gone", retryable=False)])
def test_what_ends_the_reading_is_not_the_databases_own_failure(
    house: House, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    house.add(rows(50))

    def ended(*_: Any) -> Iterator[pa.Table]:
        yield house.raw.snapshot().to_arrow(["n"])
        raise error

    monkeypatch.setattr(sifting, "chunks", ended)
    with pytest.raises(type(error)) as told:
        house.check(column("values_to_be_unique", "n"))
    assert told.value is error


@pytest.mark.server
@pytest.mark.usefixtures("many")
def test_a_lake_on_s3_is_checked_alike(s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buckets.make(s3_server, "sqlchecks")
    connection = s3_server.connections()["s3_default"]
    there = House(tmp_path, Lake("s3://sqlchecks/a lake", Connection.parse("s3", connection)))
    here = House(tmp_path / "by pandas")
    for house in (here, there):
        house.add(wide(60, 0, 1))
        house.add(wide(20, 60, 2))
    suite = (column("values_to_be_unique", "n", mostly=0.1), column("mean_to_be_between", "n", min_value=1))
    monkeypatch.setenv("AIRFLOW_CONN_S3_DEFAULT", connection)
    result = there.check(*suite, connections={"lake": "s3_default"})
    monkeypatch.setattr(reducing, "MANY", 10**6)
    assert result.facts == here.check(*suite).facts
    assert there.positions() == here.positions()

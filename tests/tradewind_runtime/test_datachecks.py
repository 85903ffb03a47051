"""Freshness, volume and schema: what they find, and which runs are asked."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from tests.tradewind_runtime.checkable import SCHEMA, START, House, rows

from tradewind_runtime.compaction import compact
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.columns import word

DAY_OLD = {"freshness": {"max_age": "26h", "severity": "warn"}}
SOME = {"volume": {"min": 1, "severity": "warn"}}


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "a lake")


def found(result) -> list[tuple[str, bool, str]]:
    facts = result.facts.get("expectations", [])
    return [(fact["expectation"], fact["success"], fact["observed"]) for fact in facts]


def refused(house, *suite, day=0, **more) -> str:
    """What a run that is stopped says."""
    with pytest.raises(StepError) as caught:
        house.day(day, *suite, **more)
    [problem] = caught.value.problems
    assert (problem.code, caught.value.retryable) == ("TW540", False)
    return problem.got


def test_a_source_that_has_stopped_is_told_of_by_runs_without_new_rows(house):
    house.add(rows(24))
    assert found(house.day(0, DAY_OLD)) == [
        ("freshness", True, "the newest at is 2013-01-01 23:00:00+00:00, 1.0 h before 2013-01-02 00:00:00+00:00")
    ]
    assert house.day(1, DAY_OLD).verdict.reasons == ()
    late = house.day(2, DAY_OLD)
    assert late.verdict.passed
    assert "49.0 h before 2013-01-04 00:00:00+00:00" in late.verdict.reasons[0]
    assert late.metrics == {"rows": 0, "failed_rows": 0, "expectations": 1, "failed": 1}
    assert "73.0 h" in refused(house, {"freshness": {"max_age": "26h"}}, day=3)
    house.add(rows(24, first=96))
    assert house.day(4, DAY_OLD).verdict.reasons == ()


def test_a_run_over_the_past_is_not_asked_for_age_or_volume(house):
    house.add(rows(24 * 3))
    house.day(2, DAY_OLD, SOME)
    before = house.results()
    for result in (
        house.day(1, DAY_OLD, SOME, run="by hand"),
        house.day(2, DAY_OLD, SOME, run="once more", now=START + timedelta(days=4)),
        house.day(9, DAY_OLD, SOME, backfill=True),
    ):
        assert (found(result), result.verdict.reasons) == ([], ())
    assert house.results() == before
    assert [success for _, success, _ in found(house.day(9, DAY_OLD, SOME))] == [False, False]


def test_a_window_that_goes_on_is_held_against_now(house):
    house.add(rows(30))
    now = START + timedelta(hours=31)
    result = house.day(400, {"freshness": {"max_age": "3h"}}, now=now, run="far ahead")
    assert found(result)[0][2].endswith("2.0 h before 2013-01-02 07:00:00+00:00")


def test_times_after_now_hide_nothing(house):
    moments = [START + timedelta(hours=n) for n in range(20)] + [datetime(2099, 1, 1, tzinfo=UTC)] * 3 + [None]
    table = rows(24, at=moments)
    house.raw.commit(house.raw.stage(table.to_batches(), SCHEMA), schema=SCHEMA)  # one file with them all
    house.add(rows(2, at=[None, None]))
    house.add(rows(1, at=[datetime(2099, 1, 2, tzinfo=UTC)]))
    assert found(house.day(0, DAY_OLD))[0][2].startswith("the newest at is 2013-01-01 19:00")


def test_a_source_that_never_gave_a_time_is_not_fresh(house):
    house.add(rows(2, at=[None, None]))
    assert found(house.day(0, DAY_OLD)) == [("freshness", False, "there is no at up to now")]


def test_dates_are_times_too(house):
    schema = pa.schema([("day", pa.date32()), ("at", pa.string())])
    table = pa.table({"day": [date(2013, 1, 2), date(2013, 1, 5)], "at": ["x", "y"]}, schema)
    house.add(table)
    days = {"freshness": {"max_age": "1d", "column": "day", "severity": "warn"}}
    assert found(house.day(2, days)) == [
        ("freshness", False, "the newest day is 2013-01-02 00:00:00+00:00, 48.0 h before 2013-01-04 00:00:00+00:00")
    ]


@pytest.mark.parametrize(
    ("check", "says", "suggestion"),
    [
        ({"freshness": {"max_age": "26h", "column": "att"}}, "freshness: there is no column 'att'", "at"),
        ({"freshness": {"max_age": "26h", "column": "carrier"}}, "freshness: the column 'carrier' is no time", None),
        ({"freshness": {"max_age": "a while"}}, "freshness: max_age: Value error, 'a while' is not a duration", None),
        ({"volume": {"min": 3, "max": 2}}, "volume: Value error, min 3 is more than max 2", None),
    ],
)
def test_a_check_that_cannot_be_asked_is_said_in_a_line(house, check, says, suggestion):
    house.add(rows(3))
    with pytest.raises(StepError, match=says) as caught:
        house.day(0, check)
    problem = caught.value.problems[0]
    assert (problem.code, problem.suggestion, caught.value.retryable) == ("TW541", suggestion, False)
    assert (house.results(), house.checked.exists()) == ([], False)


def test_too_few_or_too_many_rows_stop_the_run(house):
    limits = {"volume": {"min": 5, "max": 30}}
    house.add(rows(24))
    assert found(house.day(0, limits)) == [("volume", True, "24 rows")]
    assert "0 rows" in refused(house, limits, day=1)
    house.add(rows(4, first=24))
    assert "4 rows" in refused(house, limits, day=2)
    assert house.positions() == list(range(24)), "what is stopped waits"
    house.add(rows(31, first=28))
    assert "31 rows" in refused(house, limits, day=3)
    house.add(rows(6, first=59))
    assert found(house.day(4, limits)) == [("volume", True, "6 rows")]
    assert house.positions() == list(range(65))


def test_a_run_is_counted_by_what_it_brought_whatever_became_of_the_one_before(house):
    strict = {"expect_column_values_to_not_be_null": {"column": "carrier"}}
    house.add(rows(10, carrier=["AA"] * 9 + [None]))
    assert "1 of 10 values fail" in refused(house, SOME, strict)
    house.add(rows(7, first=10))
    house.add(rows(1, first=17))
    assert "1 of 18 values fail" in refused(house, SOME, strict, day=1)
    assert [row["rows"] for row in house.results() if row["check"] == "volume"] == [10, 8]
    mended = {"expect_column_values_to_not_be_null": {"column": "carrier", "mostly": 0.5}}
    assert found(house.day(0, SOME, mended, version=1))[0] == ("volume", True, "10 rows"), "the same run, cleared"
    assert found(house.day(1, SOME, mended))[0] == ("volume", True, "8 rows")
    assert len(house.positions()) == 17


def test_the_change_is_held_against_the_median_of_the_last_runs(house):
    steady = {"volume": {"change": 0.5, "runs": 5, "severity": "warn"}}
    first, said = 0, []
    for day, count in enumerate([10, 10, 40, 10, 16, 4, 15, 100, 100, 100, 100]):
        house.add(rows(count, first=first))
        first += count
        [(_, success, observed)] = found(house.day(day, steady))
        said.append((success, observed.partition(" runs is ")[2]))
    assert said == [
        (True, ""), (True, ""), (True, ""), (True, "10"), (False, "10"), (False, "10"), (True, "10"), (False, "15"),
        (False, "15"), (False, "16"), (True, "100"),
    ]  # fmt: skip


def test_a_source_that_replaces_its_rows_is_counted_whole_and_files_put_together_bring_none(house):
    house.add(rows(10))
    house.day(0, SOME)
    house.add(rows(6, first=100), replace="all")
    assert found(house.day(1, SOME)) == [("volume", True, "6 rows")]
    house.add(rows(2, first=106))
    house.day(2, SOME)
    assert compact(house.raw, house.raw.version()) > 0
    assert found(house.day(3, SOME)) == [("volume", False, "0 rows")]


COLUMNS = {"at": "timestamp", "carrier": "string", "delay": "double", "n": "long"}


def test_columns_and_types_of_the_raw_table(house):
    house.add(rows(3))
    assert found(house.day(0, {"schema": {"columns": COLUMNS, "extra": "refuse"}})) == [("schema", True, "as expected")]
    wrong = {"carrier": "integer", "gate": "string", "at": "timestamp"}
    assert refused(house, {"schema": {"columns": wrong}}, day=1).endswith(
        "carrier is string, not integer; there is no gate"
    )
    few = {"schema": {"columns": {"at": "timestamp"}, "extra": "refuse", "severity": "warn"}}
    assert found(house.day(2, few)) == [
        ("schema", False, "carrier is not expected; delay is not expected; n is not expected")
    ]
    house.raw.add_columns([pa.field("gate", pa.string())])
    assert found(house.day(3, {"schema": {"columns": COLUMNS | {"gate": "string"}}}))[0][1]


def test_a_schema_that_stops_says_more_than_the_expectation_of_a_column_that_is_missing(house):
    house.add(rows(3))
    missing = {"expect_column_values_to_not_be_null": {"column": "gate"}}
    assert "there is no gate" in refused(house, {"schema": {"columns": {"gate": "string"}}}, missing)
    assert [row["check"] for row in house.results()] == ["schema"]


def test_great_expectations_is_not_loaded(house):
    house.add(rows(3))
    request = house.request(DAY_OLD, SOME, {"schema": {"columns": COLUMNS}})
    code = (
        "import sys\n"
        "from tradewind_runtime.contract.request import StepRequest\n"
        "from tradewind_runtime.execute import execute\n"
        "execute(StepRequest.model_validate_json(sys.stdin.read()))\n"
        "assert 'great_expectations' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=request.model_dump_json(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [row["check"] for row in house.results()] == ["freshness", "volume", "schema"]


def test_files_of_an_asked_and_of_a_not_asked_run_that_were_put_together_are_counted_by_their_rows(house):
    house.add(rows(10))
    house.day(0, SOME)
    house.add(rows(5, first=10))
    house.day(0, SOME, run="by hand")  # a window that has had its run: not asked
    house.add(rows(2, first=20))
    compact(house.raw, 2)
    assert found(house.day(1, SOME)) == [("volume", True, "7 rows")]


def test_the_schema_may_name_a_decimal(house):
    wider = pa.schema([*SCHEMA, ("price", pa.decimal128(10, 2))])
    house.add(pa.table({**rows(1).to_pydict(), "price": [Decimal("1.50")]}, wider))
    columns = {name: word(kind) for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True) if name[0] != "_"}
    exact = {"schema": {"columns": columns | {"price": "decimal(10, 2)"}, "extra": "refuse"}}
    assert found(house.day(0, exact)) == [("schema", True, "as expected")]
    other = {"schema": {"columns": {"price": "decimal(12,2)"}, "severity": "warn"}}
    assert found(house.day(1, other)) == [("schema", False, "price is decimal(10,2), not decimal(12,2)")]

"""Results of checks over time: each once, whatever is killed, and as people and SQL read them."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from tests.tradewind_runtime.checkable import START, House, rows
from tests.tradewind_runtime.steprun import start, wait_for

from tradewind_runtime import checked, maintenance
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.execute import execute
from tradewind_runtime.findings import Finding
from tradewind_runtime.lake import Table

SUITE = (
    {"freshness": {"max_age": "26h"}},
    {"volume": {"min": 1, "severity": "warn"}},
    {"expect_column_values_to_not_be_null": {"column": "carrier", "mostly": 0.5}},
    {"expect_column_mean_to_be_between": {"column": "delay", "max_value": 1, "severity": "warn"}},
)
FRESH = {"freshness": {"max_age": "26h"}}


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "a lake")


def test_each_check_of_a_run_is_a_row(house):
    house.add(rows(4, carrier=["AA", None, "AA", None]))
    house.day(0, *SUITE)
    found = house.results()
    assert {(row["run"], row["source"], row["raw_version"]) for row in found} == {("day-0", "flights", 1)}
    assert {(row["window_start"], (row["window_end"] - START).days) for row in found} == {(START, 1)}
    shown = [
        (row["id"], row["severity"], row["success"], row["rows"], row["failing_rows"], row["share"]) for row in found
    ]
    assert shown == [
        ("freshness", "stop", True, 4, None, None),
        ("volume", "warn", True, 4, None, None),
        ("expect_column_values_to_not_be_null(carrier)", "stop", True, 4, 2, 0.5),
        ("expect_column_mean_to_be_between(delay)", "warn", False, 4, None, None),
    ]
    assert json.loads(found[2]["arguments"]) == {"column": "carrier", "mostly": 0.5}
    assert found[3]["observed"] == "observed 1.5"


def test_sql_and_arrow_read_them(house):
    for day in range(3):
        house.add(rows(24, first=24 * day))
        house.day(day, *SUITE)
    table = house.lake.table("p/checks")
    results = DeltaTable(table.uri).to_pyarrow_table()
    count = "select id, count(*), count(*) filter (not success) from results group by id order by id"
    by_arrow = duckdb.sql(count).fetchall()
    with duckdb.connect() as base:
        base.register("results", table.snapshot().dataset())
        assert base.execute(count).fetchall() == by_arrow
    assert by_arrow == [
        ("expect_column_mean_to_be_between(delay)", 3, 3),
        ("expect_column_values_to_not_be_null(carrier)", 3, 0),
        ("freshness", 3, 0),
        ("volume", 3, 0),
    ]
    assert isinstance(results, pa.Table)


def test_a_run_that_is_stopped_is_there_from_its_first_failure_on(house):
    house.add(rows(24))
    strict = {"expect_column_values_to_be_in_set": {"column": "carrier", "value_set": ["UA"]}}
    for _ in range(2):  # the same task, cleared without a change
        with pytest.raises(StepError, match="1 of 1 checks on 'flights' fail"):
            house.day(0, strict)
    assert [(row["success"], row["failing_rows"], row["share"]) for row in house.results()] == [(False, 24, 1.0)]


def test_no_checks_make_no_table(house):
    house.add(rows(3))
    house.check()
    assert not house.lake.table("p/checks").exists()


@pytest.mark.parametrize("stage", ["before results", "after results", "after rows"])
def test_a_killed_attempt_doubles_none(house, monkeypatch, stage):
    house.add(rows(6, carrier=["AA", None, "AA", "AA", None, "AA"]))
    commit = Table.commit

    def dying(self, *args, **kwargs):
        name = self.name.removeprefix("p/")
        if stage == "before results" and name == "checks":
            raise KeyboardInterrupt
        version = commit(self, *args, **kwargs)
        if (stage, name) in (("after results", "checks"), ("after rows", "flights")):
            raise KeyboardInterrupt
        return version

    with monkeypatch.context() as patch:
        patch.setattr(Table, "commit", dying)
        with pytest.raises(KeyboardInterrupt):
            house.day(0, *SUITE)
    result = house.day(0, *SUITE)
    assert result.metrics["expectations"] == (2 if stage == "after rows" else 4)
    assert len(house.results()) == 4
    assert house.positions() == [0, 2, 3, 5]


def test_a_process_that_is_killed_once_they_are_there_doubles_none(house):
    house.add(rows(50_000, carrier=["AA", None] * 25_000, at=[START] * 50_000))
    request = house.of_day(0, *SUITE)
    process = start(request, "check")
    table = house.lake.table("p/checks")
    wait_for(
        lambda: process.poll() is not None or table.position(f"step:{request.fingerprint}:{request.run_id}") is not None
    )
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    execute(request)
    assert len(house.results()) == 4
    assert len(house.positions()) == 25_000


def test_sources_that_are_checked_at_once_lose_none(house):
    house.add(rows(3))
    config = CheckConfig.model_validate({"source": "flights", "expectations": [FRESH]})
    finding = Finding(expectation=config.expectations[0], success=True, observed="young")

    def write(number: int) -> None:
        context = StepContext(house.request(refresh=str(number)), house.lake, house.root)
        for _ in range(2):
            checked.record(context, config, house.raw.snapshot(), [finding])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(8)))
    assert len({row["step"] for row in house.results()}) == len(house.results()) == 8


def test_files_that_are_put_together_hold_the_same_results(house):
    for day in range(3):
        house.add(rows(24, first=24 * day))
        house.day(day, FRESH)
    before = house.results()
    assert maintenance.compact(house.lake, "p/checks").files == 3
    assert maintenance.vacuum(house.lake, "p/checks", {}, days=7, dry_run=False).pinned == ()
    house.day(3, FRESH)
    assert house.results()[:-1] == before


def test_a_history_says_since_when_a_check_fails(house):
    volume = {"volume": {"min": 1, "severity": "warn"}}
    for day, count in enumerate([3, 0, 3, 0, 0]):
        if count:
            house.add(rows(count, first=10 * day))
        house.day(day, volume, {"schema": {"columns": {"n": "long"}}})
    [failing, passing] = checked.histories(house.lake, "p", 3)
    times = [row["time"] for row in house.results() if row["check"] == "volume"]
    assert (failing.check, failing.success, failing.passed, failing.failing_since) == (
        "volume", False, times[2], times[3],
    )  # fmt: skip
    assert [(result.run, result.success, result.rows) for result in failing.results] == [
        ("day-4", False, 0), ("day-3", False, 0), ("day-2", True, 3),
    ]  # fmt: skip
    assert (passing.check, passing.success, passing.failing_since) == ("schema", True, None)


def test_a_check_goes_on_under_other_limits_and_is_told_as_of_old_once_it_is_taken_out(house):
    carriers = [
        {"expect_column_values_to_be_in_set": {"column": "carrier", "value_set": [one]}} for one in ("AA", "UA")
    ]
    mild = [{name: {**given, "severity": "warn"} for name, given in one.items()} for one in carriers]
    house.add(rows(3))
    house.day(0, FRESH, *mild)
    house.add(rows(3, first=30))
    house.day(1, {"freshness": {"max_age": "1w"}}, *mild)
    found = {one.check: one for one in checked.histories(house.lake, "p", 10)}
    name = "expect_column_values_to_be_in_set(carrier)"
    assert {check: (one.success, len(one.results)) for check, one in found.items()} == {
        "freshness": (True, 2), name: (True, 2), f"{name} 2": (False, 2),
    }  # fmt: skip
    assert found["freshness"].arguments == {"max_age": "1w"}
    house.add(rows(3, first=50))
    house.day(2, mild[0])
    taken_out = house.results()[-1]["time"]
    assert [(one.check, one.until) for one in checked.histories(house.lake, "p", 10)] == [
        (name, None), (f"{name} 2", taken_out), ("freshness", taken_out),
    ]  # fmt: skip
    house.add(rows(3, first=70))
    house.day(3, FRESH, *mild)
    assert {one.until for one in checked.histories(house.lake, "p", 10)} == {None}, "they were put in again"
    assert checked.pipelines(house.lake) == ["p"]


def test_a_source_that_has_no_checks_any_more_is_told_so(house):
    fresh = {"freshness": {"max_age": "30d"}}
    house.add(rows(3))
    house.day(0, fresh)
    house.day(1)
    [found] = checked.histories(house.lake, "p", 10)
    assert found.until is not None
    assert found.until > found.asked
    version = house.lake.table("p/checks").version()
    house.day(2)
    assert house.lake.table("p/checks").version() == version, "noted once"
    assert checked.histories(house.lake, "p", 10)[0].until == found.until
    house.day(3, fresh)
    assert checked.histories(house.lake, "p", 10)[0].until is None
    house.day(4)
    assert checked.histories(house.lake, "p", 10)[0].until is not None

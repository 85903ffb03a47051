"""Checks on Spark find, take and refuse what checks on pandas do, whichever came before and whatever dies."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from tests.servers import buckets
from tests.tradewind_runtime.checkable import SCHEMA, House, rows
from tests.tradewind_runtime.reducible import ASKED_HERE, REDUCED, column, same_answers, wide
from tests.tradewind_runtime.steprun import started

from tradewind_runtime import sifting
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.engines.spark import application, checking, session
from tradewind_runtime.engines.spark.errors import at_work
from tradewind_runtime.execute import execute
from tradewind_runtime.expectations import Suite
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake
from tradewind_runtime.reducing import reducible

SETTINGS = {"spark": {"master": "local[2]", "driver_memory": "512m"}}
NOT_NULL = {"expect_column_values_to_not_be_null": {"column": "carrier", "mostly": 0.5}}
SHORT = {"expect_column_values_to_be_between": {"column": "delay", "max_value": 100, "mostly": 0.3}}


@pytest.fixture(scope="module", autouse=True)
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One for all; steps of this process find it."""
    with session(SETTINGS["spark"], tmp_path_factory.mktemp("spark")) as made:
        yield made


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "a lake")


def two(tmp_path: Path, *tables: pa.Table) -> tuple[House, House]:
    """Two lakes with the same files, for rows are numbered by them."""
    made = House(tmp_path / "by pandas")
    for one in tables:
        made.add(one)
    shutil.copytree(made.root, tmp_path / "by Spark")
    return made, House(tmp_path / "by Spark")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[House, House]:
    """Three files, of which one is small."""
    return two(tmp_path, wide(90, 0, 0), wide(7, 90, 1), wide(60, 97, 2))


def by_spark(house: House, *suite: dict[str, Any], **more: Any) -> StepResult:
    result: StepResult = house.check(*suite, engine="spark", settings=SETTINGS, **more)
    return result


def left(house: House) -> dict[str, Any]:
    """All that a check leaves but times, versions of engines and names of files."""
    kept = house.checked.snapshot().to_arrow().sort_by("_position").to_pylist()
    names = ("source", "position", "reason", "content", "stage")
    refused = [tuple(row[name] for name in names) for row in house.quarantined()]
    found = [{name: value for name, value in row.items() if name not in {"time", "step"}} for row in house.results()]
    # As text, for what is not a number is like no other.
    return {"rows": [str(row) for row in kept], "refused": sorted(refused), "found": sorted(map(str, found))}


def same(pair: tuple[House, House], *suite: dict[str, Any]) -> StepResult:
    """Check both, compare all of it, and give what one said."""
    here, there = pair[0].check(*suite), by_spark(pair[1], *suite)
    assert there.metrics == here.metrics
    assert there.facts == here.facts
    assert there.verdict == here.verdict
    assert left(pair[1]) == left(pair[0])
    return there


def test_rows_pass_and_are_refused_alike(pair: tuple[House, House]) -> None:
    result = same(
        pair,
        NOT_NULL,
        SHORT,
        {"expect_column_values_to_be_in_set": {"column": "carrier", "value_set": ["AA", "UA"], "mostly": 0.3}},
        {"expect_column_values_to_match_regex": {"column": "carrier", "regex": "^..$", "severity": "warn"}},
        {"expect_column_values_to_be_between": {"column": "at", "min_value": "2013-01-02", "mostly": 0.3}},
        {"expect_column_values_to_be_between": {"column": "price", "max_value": 5, "severity": "warn"}},
        {
            "expect_column_values_to_not_be_null": {
                "column": "small",
                "row_condition": "gate == 'A'",
                "condition_parser": "pandas",
                "mostly": 0.2,
            }
        },
        {
            "expect_column_pair_values_a_to_be_greater_than_b": {
                "column_A": "delay",
                "column_B": "small",
                "or_equal": True,
                "mostly": 0.1,
            }
        },
        {"expect_column_values_to_be_unique": {"column": "n", "mostly": 0.1, "severity": "warn"}},
        {"expect_compound_columns_to_be_unique": {"column_list": ["at", "delay"]}},
        {"expect_column_mean_to_be_between": {"column": "n", "min_value": 1}},
        {"expect_table_row_count_to_be_between": {"min_value": 100, "max_value": 200}},
        {"expect_column_to_exist": {"column": "ok"}},
    )
    assert 0 < result.metrics["rows"] < 157
    assert result.metrics["rows"] + result.metrics["failed_rows"] == 157
    assert len(pair[1].checked.snapshot().files) > 3, "a file for a day and a part"
    docs = pair[1].lake.documents
    pages = [
        (docs.get(name) or b"").decode() for name in docs.names(result.links["Data docs"].removesuffix("/index.html"))
    ]
    assert any("carrier" in page and "fa-check-circle" in page for page in pages)


def test_a_failing_suite_stops_alike_and_commits_nothing(pair: tuple[House, House]) -> None:
    strict = {"expect_column_values_to_not_be_null": {"column": "carrier", "mostly": 0.99}}
    unique = {"expect_column_values_to_be_unique": {"column": "carrier"}}
    mean = {"expect_column_mean_to_be_between": {"column": "n", "min_value": 10_000}}
    with pytest.raises(StepError) as here:
        pair[0].check(strict, unique, mean)
    with pytest.raises(StepError) as there:
        by_spark(pair[1], strict, unique, mean)
    assert there.value.problems[0].code == "TW540"
    assert there.value.problems[0].got == here.value.problems[0].got
    assert not pair[1].checked.exists()
    assert pair[1].quarantined() == []
    assert [row["observed"] for row in pair[1].results()] == [row["observed"] for row in pair[0].results()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"expect_column_values_to_match_regex": {"column": "carrier", "regex": "("}},
        {"expect_column_mean_to_be_between": {"column": "gate", "min_value": 1}},
        {"expect_column_values_to_not_be_null": {"column": "carier"}},
    ],
)
def test_an_expectation_that_cannot_be_asked_is_told_alike(pair: tuple[House, House], wrong: dict[str, Any]) -> None:
    with pytest.raises(StepError) as here:
        pair[0].check(wrong)
    with pytest.raises(StepError) as there:
        by_spark(pair[1], wrong)
    assert there.value.problems == here.value.problems
    assert there.value.problems[0].code == "TW541"
    assert not there.value.retryable


def test_what_is_asked_of_all_rows_at_once_finds_what_it_finds_on_pandas(house: House, spark: SparkSession) -> None:
    for seed, (first, count) in enumerate([(0, 90), (90, 7), (97, 60)]):
        house.add(wide(count, first, seed))
    raw = house.raw.snapshot()
    given = CheckConfig.model_validate({"source": "flights", "expectations": REDUCED + ASKED_HERE}).expectations
    assert [reducible(one, raw.schema) for one in given] == [True] * len(REDUCED) + [False] * len(ASKED_HERE)
    spread = checking.Spread(spark, raw, sifting.parts(raw, 10))
    assert len(spread.parts) == 3
    answers = [
        sieve.judge(Suite("flights", given, raw.schema)) for sieve in (sifting.Here(sifting.Part(raw, 0, 157)), spread)
    ]
    same_answers(*answers)


def test_sums_of_broken_numbers_are_the_same_but_for_their_last_digits(house: House, spark: SparkSession) -> None:
    house.add(rows(50, delay=[0.1 * n for n in range(50)]))
    house.add(rows(1, first=50, delay=[1e6 / 3]))
    raw = house.raw.snapshot()
    suite = [column(f"{name}_to_be_between", "delay", min_value=0) for name in ("sum", "mean", "stdev")]
    given = CheckConfig.model_validate({"source": "flights", "expectations": suite}).expectations
    spread = checking.Spread(spark, raw, sifting.parts(raw, 10))
    answers = [
        sieve.judge(Suite("flights", given, raw.schema)) for sieve in (sifting.Here(sifting.Part(raw, 0, 51)), spread)
    ]
    for here, there in zip(*answers, strict=True):
        told = [float(one.observed.removeprefix("observed ")) for one in (here, there)]
        assert told[1] == pytest.approx(told[0], rel=1e-12)
        assert there.success


def test_of_one_value_and_of_none_all_is_said_alike(tmp_path: Path) -> None:
    pair = two(tmp_path, rows(3, carrier=[None] * 3, delay=[None, 4.5, float("nan")]))
    names = ("sum_to_be_between", "mean_to_be_between", "stdev_to_be_between", "max_to_be_between")
    same(
        pair,
        *(column(name, "delay", min_value=0, severity="warn") for name in names),
        column("values_to_be_unique", "carrier"),
        column("unique_value_count_to_be_between", "carrier", max_value=0),
        column("proportion_of_unique_values_to_be_between", "carrier", max_value=0),
        column("distinct_values_to_be_in_set", "carrier", value_set=["AA"]),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_files_give_what_one_process_gives(tmp_path: Path, seed: int) -> None:
    pick = random.Random(seed)
    counts = [pick.choice([1, 2, 30, 31, 200]) for _ in range(pick.randrange(2, 7))]
    files = [wide(count, sum(counts[:at]), 100 * seed + at) for at, count in enumerate(counts)]
    pair = two(tmp_path, *files)
    suite = [column("values_to_be_unique", "n"), column("values_to_be_between", "delay", max_value=10), NOT_NULL]
    same(pair, *({name: {**given, "mostly": 0.0} for name, given in one.items()} for one in suite))


def test_engines_may_change_between_runs(house: House) -> None:
    for number, engine in enumerate(["python", "spark", "python", "spark"]):
        house.add(rows(6, 6 * number, carrier=["AA", None, "AA", "AA", None, "AA"]))
        result = house.check(NOT_NULL, engine=engine, settings=SETTINGS, run=f"r{number}")
        assert result.metrics["rows"] == 4
    assert house.positions() == [n for n in range(24) if n % 6 not in {1, 4}]
    assert sorted(row["position"] for row in house.quarantined()) == [n for n in range(24) if n % 6 in {1, 4}]


def test_rows_that_a_source_replaces_are_checked_again_as_a_whole(house: House) -> None:
    house.add(rows(10, carrier=["AA"] * 9 + [None]))
    by_spark(house, NOT_NULL)
    house.add(rows(6, first=100, carrier=["AA"] * 5 + [None]), replace="all")
    assert by_spark(house, NOT_NULL).metrics["rows"] == 5
    assert house.positions() == [100, 101, 102, 103, 104]
    assert sorted(row["position"] for row in house.quarantined()) == [9, 105]


def test_without_expectations_rows_pass_as_they_are_cut_by_day(house: House) -> None:
    whole = rows(50)
    house.add(whole.slice(0, 30))
    house.add(whole.slice(30))
    assert by_spark(house).metrics == {"rows": 50, "failed_rows": 0, "expectations": 0, "failed": 0}
    assert house.checked.snapshot().to_arrow().sort_by("_position").equals(whole)
    assert len(house.checked.snapshot().files) == 4, "three days, of which one came in two files"


def test_without_new_rows_no_spark_is_started(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add(rows(3))
    by_spark(house, NOT_NULL)
    monkeypatch.setattr(application, "of", lambda *_, **__: pytest.fail("it was"))
    assert by_spark(house, NOT_NULL, refresh="again").metrics["rows"] == 0
    house.raw.commit([], schema=SCHEMA, positions={"kafka:flights:0": Advance(None, 9)})
    assert by_spark(house, NOT_NULL).metrics["rows"] == 0


@pytest.mark.parametrize("table", ["p/flights_quarantine", "p/flights"])
def test_a_step_that_is_killed_before_a_commit_is_taken_up(house: House, tmp_path: Path, table: str) -> None:
    house.add(rows(6, carrier=["AA", None, "AA", "AA", None, "AA"]))
    house.add(rows(3, first=6, carrier=["AA", None, "AA"]))
    asked = house.request(NOT_NULL, engine="spark", settings=SETTINGS)
    (tmp_path / "one.json").write_text(asked.model_dump_json())
    script = (
        "import os, signal\n"
        "from tradewind_runtime import lake\n"
        "commit = lake.Table.commit\n"
        "def dying(self, *given, **more):\n"
        f"    if self.name == {table!r}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return commit(self, *given, **more)\n"
        "lake.Table.commit = dying\n"
        "from tradewind_runtime.contract.request import StepRequest\n"
        "from tradewind_runtime.execute import execute\n"
        f"execute(StepRequest.model_validate_json(open({str(tmp_path / 'one.json')!r}).read()))\n"
    )
    (tmp_path / "dying.py").write_text(script)  # a file: without one PySpark takes itself for a run of doctests
    done = subprocess.run([sys.executable, tmp_path / "dying.py"], env=os.environ, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(house.quarantined()) == (3 if table == "p/flights" else 0)
    assert not house.checked.exists() or house.positions() == []
    assert execute(asked).metrics["rows"] == 6
    assert house.positions() == [0, 2, 3, 5, 6, 8]
    assert sorted(row["position"] for row in house.quarantined()) == [1, 4, 7]


@pytest.mark.parametrize(
    ("dies", "says", "retryable"),
    [
        (lambda _: __import__("no_such_package"), "Spark's workers lack a package: no_such_package", False),
        (lambda _: os._exit(9), "Spark failed at a trial: ", True),
    ],
)
def test_a_spark_that_fails_is_told(spark: SparkSession, dies: Any, says: str, retryable: bool) -> None:
    with pytest.raises(StepError, match=says) as caught, at_work("a trial"):
        spark.sparkContext.parallelize([1], 1).map(dies).collect()
    assert caught.value.problems[0].code == "TW546"
    assert caught.value.retryable is retryable


def elsewhere(house: House, request: StepRequest, *words: str, **environment: str) -> StepResult:
    """By a step in a process of its own."""
    path = "requests/one.json"
    house.lake.documents.put(path, request.model_dump_json().encode())
    step = started(house.lake.root, path, *words, **environment)
    _, said = step.communicate(timeout=250)
    assert step.returncode == 0, said.decode()[-3000:]
    result = house.lake.documents.get_model(request.result_path, StepResult)
    assert result is not None
    return result


@pytest.mark.server
def test_a_lake_on_s3_is_checked_alike(s3_server: Any, tmp_path: Path) -> None:
    buckets.make(s3_server, "checks")
    connection = s3_server.connections()["s3_default"]
    there = House(tmp_path, Lake("s3://checks/a lake", Connection.parse("s3", connection)))
    here = House(tmp_path / "by pandas")
    for house in (here, there):
        house.add(wide(60, 0, 1))
        house.add(wide(20, 60, 2))
    mean = column("mean_to_be_between", "n", min_value=1)
    suite = (NOT_NULL, SHORT, column("values_to_be_unique", "n", mostly=0.1), mean)
    asked = there.request(*suite, engine="spark", settings=SETTINGS, connections={"lake": "s3_default"})
    result = elsewhere(there, asked, "--lake-connection", "s3_default", AIRFLOW_CONN_S3_DEFAULT=connection)
    assert result.facts == here.check(*suite).facts
    assert left(there) == left(here)


@pytest.mark.server
def test_a_spark_elsewhere_checks_alike(spark_elsewhere: dict[str, Any], tmp_path: Path) -> None:
    pair = two(tmp_path, wide(60, 0, 1), wide(20, 60, 2))
    suite = (NOT_NULL, SHORT, column("values_to_be_unique", "n", mostly=0.1))
    asked = pair[1].request(*suite, engine="spark", settings={"spark": spark_elsewhere})
    facts = elsewhere(pair[1], asked).facts
    told = [one["application"][:4] for one in facts.pop("spark", [])]
    assert told == (["app-"] if str(spark_elsewhere["master"]).startswith("spark://") else [])
    assert facts == pair[0].check(*suite).facts
    assert left(pair[1]) == left(pair[0])

"""How far Spark's jobs are, in the step's log: lines of those that last, and none of the others."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pyspark import SparkContext
from pyspark.core.status import SparkStageInfo

from tradewind_runtime.engines.spark import progress, session
from tradewind_runtime.engines.spark.watching import watched

LINE = re.compile(r"Spark: stage \d+, (\d+) of (\d+) tasks, (\d+) running")
EVERY = 2.0
PROJECT = {
    "profiles/local.yaml": f"""\
profile: local
environments: {{steps: {{python: {sys.executable}}}}}
settings: {{spark: {{master: "local[2]", driver_memory: 512m}}}}
""",
    "dags/pipelines/slow.yaml": """\
version: 1
pipeline: slow
sources: {flowers: {sample: {name: iris}}}
transform: {spark: {job: spark_jobs/slow.py}}
""",
    "spark_jobs/slow.py": """\
import time

def transform(spark, tables, context):
    def slowly(batches):
        time.sleep(2)
        yield from batches

    rows = tables["flowers"].select("target").repartition(12)
    return rows.mapInArrow(slowly, rows.schema)
""",
}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkContext]:
    with session({"master": "local[2]", "driver_memory": "512m"}, tmp_path_factory.mktemp("spark")) as made:
        made.sparkContext.parallelize(range(4), 4).foreach(lambda _: None)  # Python's workers start slowly
        yield made.sparkContext


@pytest.fixture
def during(spark: SparkContext, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> During:
    monkeypatch.setattr(progress, "EVERY", EVERY)
    caplog.set_level(logging.INFO, "tradewind")
    return During(spark, caplog)


class During:
    """What is told while something is done."""

    def __init__(self, spark: SparkContext, caplog: pytest.LogCaptureFixture) -> None:
        self.spark, self.caplog = spark, caplog

    def __call__(self, work: Callable[[], object]) -> list[logging.LogRecord]:
        with progress.told(self.spark):
            work()
        return [one for one in self.caplog.records if one.getMessage().startswith("Spark: ")]

    def tasks(self, count: int, seconds: float) -> None:
        """A job of so many, each of which takes so long."""
        self.spark.parallelize(range(count), count).foreach(lambda _: time.sleep(seconds))


def test_a_job_that_lasts_tells_how_far_it_is(during: During) -> None:
    told = during(lambda: during.tasks(40, 0.5))
    found = [LINE.fullmatch(one.getMessage()) for one in told]
    numbers = [tuple(map(int, one.groups())) for one in found if one]
    assert len(numbers) == len(told) >= 3, "each line is of that form"
    done = [one[0] for one in numbers]
    assert done == sorted(set(done)), "each says something new"
    assert 0 < done[0] < done[-1] < 40
    assert {one[1] for one in numbers} == {40}
    running = [one[2] for one in numbers]
    assert running.count(2) > len(running) / 2, "as many as there are cores, but in the moment of a change"
    assert all(later.created - earlier.created >= EVERY for earlier, later in pairwise(told))


def test_quick_jobs_tell_nothing(during: During) -> None:
    def quick() -> None:
        for _ in range(3):
            during.tasks(4, 0.05)
            time.sleep(1.5)  # Spark has nothing to do when it is looked at

    assert during(quick) == []


def test_what_stands_still_is_told_once(during: During) -> None:
    (only,) = during(lambda: during.tasks(1, 4 * EVERY))
    assert re.fullmatch(r"Spark: stage \d+, 0 of 1 tasks, 1 running", only.getMessage())


def test_a_watch_ends_with_what_it_watches_and_with_spark(spark: SparkContext) -> None:
    looks: list[bool] = []

    def look() -> None:
        looks.append(spark.statusTracker().getActiveJobsIds() == [])
        raise OSError  # as where the JVM is gone

    with watched("a watch", look):
        time.sleep(3)
        assert len(looks) == 1
    assert "a watch" not in {one.name for one in threading.enumerate()}


def stage(id: int, failed: int = 0) -> SparkStageInfo:
    return SparkStageInfo(id, 0, "a stage", 200, 2, 40, failed)


def test_many_stages_are_one_line() -> None:
    assert progress.line([stage(3)]) == "Spark: stage 3, 40 of 200 tasks, 2 running"
    assert progress.line([stage(3, 1), stage(4)]) == (
        "Spark: stage 3, 40 of 200 tasks, 2 running, 1 failed; stage 4, 40 of 200 tasks, 2 running"
    )
    assert progress.line([stage(id) for id in range(5)]).endswith("; 2 more stages")
    assert progress.line([stage(id) for id in range(3)]).count("stage ") == 3


def test_whoever_runs_a_pipeline_by_the_command_line_sees_it(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND")}
    command = [sys.executable, "-m", "tradewind.cli", "run", "dags/pipelines/slow.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, said = done.stdout.partition("\ntransform\n")
    told = [one for line in said.splitlines() if (one := LINE.fullmatch(line.strip()))]
    assert "12" in {one[2] for one in told}, done.stdout

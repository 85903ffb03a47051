"""A job, and a lake with rows for it: what a Spark elsewhere is asked for in tests."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from tests.tradewind_runtime.steprun import started

from tradewind.plan.code import UserCode
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult
from tradewind_runtime.lake import Lake

START = datetime(2013, 1, 1, tzinfo=UTC)
HOURS = 240
#: Rows go through a function of another file, in Python, and through a shuffle; each task says where it runs.
JOB = """
import os, pathlib, time
from pyspark.sql import functions as F
from helper import twice

@F.udf("long")
def by_python(n):
    return twice(n)

def marked(batches, folder, wait):
    (pathlib.Path(folder) / f"{time.monotonic_ns()}-{os.getpid()}-{os.getppid()}").touch()
    time.sleep(wait)
    yield from batches

def transform(spark, tables, context):
    rows, (folder, wait) = tables["rows"], context.args["marks"]
    seen = rows.repartition(8, "n").mapInArrow(lambda batches: marked(batches, folder, wait), rows.schema)
    sums = seen.groupBy(F.to_date("t").alias("on")).agg(F.sum("n").alias("total"))
    both = seen.join(sums, F.to_date("t") == F.col("on")).select("t", by_python("n").alias("n"), "s", "total")
    return both.withColumn("hour", F.hour("t"))
"""
HELPER = "def twice(n):\n    return 2 * n\n"


class House:
    """A lake with a table of hourly rows, and the job."""

    def __init__(self, lake: Lake, marks: Path) -> None:
        self.lake, self.marks = lake, marks
        self.steps: list[subprocess.Popen[bytes]] = []
        marks.mkdir()
        times = [START + timedelta(hours=n) for n in range(HOURS)]
        rows = pa.table({"t": pa.array(times, pa.timestamp("us", "UTC")), "n": range(HOURS), "s": ["é"] * HOURS})
        table = lake.table("p/rows")
        table.commit(table.stage(rows.to_batches(), rows.schema, cut_by="t"), schema=rows.schema)

    def request(self, spark: dict[str, Any], wait: float = 0, **more: Any) -> StepRequest:
        marks = [str(self.marks), wait]
        return StepRequest(
            step="transform", id="transform", pipeline="p", run_id="r", lake=self.lake.root, engine="spark",
            config={
                "transform": {"spark": {"job": "spark_jobs/job.py", "args": {"marks": marks}}},
                "split": {"time": "t", "train": "4d", "valid": "1d", "test": "1d"},
            },
            window=Window(start=START + timedelta(days=9), end=START + timedelta(days=10)),
            settings={"spark": {"driver_memory": "512m", "options": {"spark.executor.memory": "512m"}} | spark},
            inputs={"rows": DatasetRef(table="p/rows", version=self.lake.table("p/rows").version())},
            code=self._code(), **more,
        )  # fmt: skip

    def _code(self) -> CodeRef:
        code = UserCode({"spark_jobs/job.py": JOB.encode(), "spark_jobs/helper.py": HELPER.encode()})
        self.lake.documents.create(f"code/{code.digest}.tar.gz", code.archive)
        return CodeRef(archive=code.digest, closure=code.digest)

    def start(self, request: StepRequest, **environment: str) -> subprocess.Popen[bytes]:
        """The step in a process of its own."""
        path = "requests/one.json"
        self.lake.documents.put(path, request.model_dump_json().encode())
        words = ["--lake-connection", request.connections["lake"]] if request.connections else []
        self.steps.append(started(self.lake.root, path, *words, **environment))
        return self.steps[-1]

    def close(self) -> None:
        """No step outlives its test."""
        for step in self.steps:
            step.kill()
            step.wait(10)

    def rows(self, request: StepRequest) -> pa.Table:
        """What it made of them."""
        result = self.lake.documents.get_model(request.result_path, StepResult)
        assert result is not None
        ref = result.outputs["features"]
        assert isinstance(ref, DatasetRef)
        return self.lake.table("p/features").snapshot(ref.version).to_arrow().sort_by("t")


def expected() -> pa.Table:
    """The same by hand."""
    numbers = list(range(96, HOURS))
    totals = [sum(range(n - n % 24, n - n % 24 + 24)) for n in numbers]
    return pa.table({"n": [2 * n for n in numbers], "total": totals, "hour": [n % 24 for n in numbers]})


def right(rows: pa.Table) -> bool:
    return rows.num_rows == 144 and rows.select(["n", "total", "hour"]).to_pylist() == expected().to_pylist()


def succeed(step: subprocess.Popen[bytes]) -> None:
    _, said = step.communicate(timeout=250)
    assert step.returncode == 0, said.decode()[-3000:]


def words(pid: int) -> list[str]:
    """Of the command lines of all that runs below a process."""
    found = []
    for one in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            found += one.cmdline()
    return found


def failure(step: subprocess.Popen[bytes], seconds: float = 120) -> str:
    """What the step says that failed."""
    _, said = step.communicate(timeout=seconds)
    assert step.returncode
    return said.decode()

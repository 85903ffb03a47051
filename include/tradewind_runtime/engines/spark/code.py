"""A job's file as a function, and what it needs beside it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pyspark import cloudpickle
from pyspark.sql import SparkSession

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job, guarded
from tradewind_runtime.engines.spark import shipping


def load(path: str, job: Job) -> Callable[..., Any]:
    """`transform` of a file of the run's user code.

    Raises:
        StepError: TW530 where there is no such file, TW545 where it cannot be imported or has no such function.
    """
    code = job.step.code
    file = code / path if code else None
    if file is None or not file.is_file():
        raise StepError("TW530", f"{path} is not in this run's user code", retryable=False, path="transform.spark.job")
    spec = importlib.util.spec_from_file_location(f"tradewind_job_{file.stem}", file)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.parent))
    try:
        with guarded(f"Spark job {path}", code):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return _entry(module, path)


def _entry(module: ModuleType, path: str) -> Callable[..., Any]:
    found = getattr(module, "transform", None)
    if not callable(found):
        raise StepError(
            "TW545",
            f"{path} defines no function `transform`",
            retryable=False,
            file=path,
            expected="transform(spark, tables, context) -> DataFrame",
        )
    # Workers cannot import it by its name, so its functions travel as they are.
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    return found  # type: ignore[no-any-return]


def ship(spark: SparkSession, job: Job) -> None:
    """What the job imports from beside it must be found by Spark's workers too."""
    assert job.step.code is not None, "the job was found there"
    for name in ("spark_jobs", "include/models"):
        folder = job.step.code / name
        files = sorted(folder.rglob("*.py"))
        if len(files) > (name == "spark_jobs"):
            texts = {file.relative_to(folder).as_posix(): file.read_text() for file in files}
            shipping.ship(spark, texts, job.step.scratch)

"""The engine `spark`: a user's application over pinned Parquet files; what it gives is written and not committed.

Spark never sees a table's log: it gets a snapshot's files and the table's schema, and leaves Parquet in a
folder of its own. So a local Spark needs no jars, and exactly-once is the lake's business alone.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

from tradewind_runtime.contract.transform import SparkTransform
from tradewind_runtime.engines import Job, Output
from tradewind_runtime.engines.output import refused, shape
from tradewind_runtime.engines.spark import application
from tradewind_runtime.engines.spark.code import load, ship
from tradewind_runtime.engines.spark.errors import told
from tradewind_runtime.engines.spark.session import session
from tradewind_runtime.engines.spark.tables import frame, uri, write

__all__ = ["frame", "session", "transform"]


def transform(job: Job) -> Output:
    """Run `transform(spark, tables, context)` of the job's file and write its rows, a file a day.

    Raises:
        StepError: TW545 where the job fails, TW546 where Spark cannot start, TW547 where its result is no table.
    """
    assert isinstance(job.spec, SparkTransform)
    what = f"Spark job {job.spec.job}"
    with application.of(job.step) as spark:
        tables = {name: frame(spark, snapshot) for name, snapshot in job.tables.items()}
        function = load(job.spec.job, job)  # only now: `@udf("double")` at a file's top wants a Spark
        ship(spark, job)
        with told(what, job):
            result = function(spark, tables, job.context)
            if not isinstance(result, DataFrame):
                raise refused(f"is a {type(result).__name__}", f"return a DataFrame from {job.spec.job}")
            schema = shape(to_arrow_schema(result.schema, timezone="UTC"), job)
            folder = job.output.staging()
            write(result, schema, job, uri(folder))
    staged = [one for one in job.output.staged(folder) if '"numRecords": 0,' not in one.stats]
    return Output(schema, staged)

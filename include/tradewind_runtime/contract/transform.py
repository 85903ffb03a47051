"""`transform:`: from checked tables to the table that models learn from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Duration, Frozen, Name
from tradewind_runtime.contract.split import Split

_ENGINES = ("spark", "sql", "python", "beam")


class SparkTransform(Frozen):
    """A Spark application of `spark_jobs/`: defines `transform(spark, tables, context) -> DataFrame`."""

    job: str = Field(pattern=r"^spark_jobs/[A-Za-z0-9_/]+\.py$", description="Its file, below spark_jobs/.")
    args: dict[str, Any] = Field(default_factory=dict, description="Handed on as they are: context.args.")


class SqlTransform(Frozen):
    """A DuckDB query over the checked tables, each a view by its source's name."""

    query: str = Field(description="One SELECT. {window.start} and {window.end} may be used.")


class PythonTransform(Frozen):
    """A function of `include/models/`: takes {name: pyarrow.Table} and context, gives a pyarrow.Table."""

    function: str = Field(
        pattern=r"^[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$", description="MODULE:FUNCTION of include/models."
    )
    args: dict[str, Any] = Field(default_factory=dict, description="Handed on as they are: context.args.")


class BeamTransform(Frozen):
    """A function of `include/models/`: takes a Beam pipeline, {name: PCollection of dicts} and context, gives rows."""

    function: str = Field(
        pattern=r"^[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$", description="MODULE:FUNCTION of include/models."
    )
    args: dict[str, Any] = Field(default_factory=dict, description="Handed on as they are: context.args.")


class Incremental(Frozen):
    """Days whose rows have not changed are not computed again."""

    lookback: Duration = Field(
        timedelta(), ge=timedelta(), description="How far before its own day, in UTC, a row looks at the sources' rows."
    )
    times: dict[Name, Name] = Field(
        default_factory=dict,
        description="Source → its column that tells of which day a row is; without it a `time` that is called as "
        "`split.time` is. Any change of another source computes all.",
    )


class Transform(Frozen):
    """Exactly one engine's way."""

    spark: SparkTransform | None = Field(None, description="A Spark application.")
    sql: SqlTransform | None = Field(None, description="A DuckDB query.")
    python: PythonTransform | None = Field(None, description="A Python function.")
    beam: BeamTransform | None = Field(None, description="A Beam pipeline.")
    incremental: Incremental | None = Field(
        None,
        description="Compute only days that are new or whose rows in a source have changed. A row then stands on rows "
        "of its own day and its lookback alone, and not on the window.",
    )

    @model_validator(mode="after")
    def _one(self) -> Transform:
        given = [name for name in _ENGINES if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"transform has exactly one of {', '.join(_ENGINES)}; got {given or 'none'}"
            raise ValueError(msg)
        return self

    @property
    def engine(self) -> str:
        """The engine that runs it."""
        return "spark" if self.spark else "duckdb" if self.sql else "beam" if self.beam else "python"

    @property
    def entry(self) -> str | None:
        """The user's code that it runs: a file, or MODULE:FUNCTION; none for a query."""
        if self.spark:
            return self.spark.job
        called = self.python or self.beam
        return called.function if called else None


class TransformConfig(Frozen):
    """What the step `transform` is configured by."""

    transform: Transform | None = Field(None, description="None: the only source's table is taken as it is.")
    split: Split | None = None
    output: str = "features"
    times: dict[str, str] | None = Field(None, description="Source → its column of time; for what is incremental.")

"""`transform:`: from checked tables to the table that models learn from."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.split import Split


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


class Transform(Frozen):
    """Exactly one engine's way."""

    spark: SparkTransform | None = Field(None, description="A Spark application.")
    sql: SqlTransform | None = Field(None, description="A DuckDB query.")
    python: PythonTransform | None = Field(None, description="A Python function.")

    @model_validator(mode="after")
    def _one(self) -> Transform:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"transform has exactly one of spark, sql, python; got {given or 'none'}"
            raise ValueError(msg)
        return self

    @property
    def engine(self) -> str:
        """The engine that runs it."""
        return "spark" if self.spark else "duckdb" if self.sql else "python"


class TransformConfig(Frozen):
    """What the step `transform` is configured by."""

    transform: Transform | None = Field(None, description="None: the only source's table is taken as it is.")
    split: Split | None = None
    output: str = "features"

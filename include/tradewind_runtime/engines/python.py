"""The engine `python`: a function of include/models over Arrow tables, in memory."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tradewind_runtime.contract.sources import PROVENANCE
from tradewind_runtime.contract.transform import PythonTransform
from tradewind_runtime.engines import Job, Output, guarded
from tradewind_runtime.engines.functions import find
from tradewind_runtime.engines.output import refused, stage


def transform(job: Job) -> Output:
    """`fn(tables, context)` with each source's rows.

    Raises:
        StepError: TW545 where the function fails, TW547 where what it gives is no table.
    """
    assert isinstance(job.spec, PythonTransform)
    name = job.spec.function
    function = find(name, job, "transform.python.function")
    tables = {source: snapshot.to_arrow() for source, snapshot in job.tables.items()}
    with guarded(f"transform function {name}", job.step.code):
        result = function(tables, job.context)
    rows = _reader(result)
    return stage(rows.schema, rows, job)


def identity(job: Job) -> Output:
    """No transform: the only source's rows, without where they were ingested from.

    Raises:
        StepError: TW547 where there are more sources than one.
    """
    if len(job.tables) != 1:
        raise refused(
            "is not said: there is no transform and not exactly one source", "write a transform", got=sorted(job.tables)
        )
    (snapshot,) = job.tables.values()
    columns = [name for name in snapshot.schema.names if name not in PROVENANCE]
    rows = snapshot.dataset().scanner(columns=columns).to_reader()
    return stage(rows.schema, rows, job)


def _reader(result: Any) -> pa.RecordBatchReader:
    if isinstance(result, pa.Table):
        return result.to_reader()
    if hasattr(result, "__arrow_c_stream__"):  # pandas, Polars, DuckDB
        return pa.RecordBatchReader.from_stream(result)
    raise refused(f"is a {type(result).__name__}", "return a pyarrow.Table (or a pandas or Polars data frame)")

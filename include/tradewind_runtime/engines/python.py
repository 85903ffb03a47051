"""The engine `python`: a function of include/models over Arrow tables, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tradewind_runtime.contract.sources import PROVENANCE
from tradewind_runtime.contract.transform import PythonTransform
from tradewind_runtime.engines import Job, Output, guarded
from tradewind_runtime.engines.functions import find
from tradewind_runtime.engines.output import named_once, refused, stage


def transform(job: Job) -> Output:
    """`fn(tables, context)` with each source's rows.

    Raises:
        StepError: TW545 where the function fails, be it while its rows are read, TW547 where what it gives is no table.
    """
    assert isinstance(job.spec, PythonTransform)
    name = job.spec.function
    function = find(name, job, "transform.python.function")
    tables = {source: snapshot.to_arrow() for source, snapshot in job.tables.items()}
    what = f"transform function {name}"
    with guarded(what, job.step.code):
        rows = _reader(function(tables, job.context))
    return stage(rows.schema, _batches(rows, what, job.step.code), job)


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


def _batches(rows: pa.RecordBatchReader, what: str, code: Path | None) -> Iterator[pa.RecordBatch]:
    """Some results are computed only now; writing them has errors of its own."""
    with guarded(what, code):
        yield from rows


def _reader(result: Any) -> pa.RecordBatchReader:
    if isinstance(result, pa.RecordBatchReader):  # as it is, so that an error in it has its place
        return result
    if isinstance(result, pa.Table):
        return result.to_reader()
    kind = type(result).__name__
    if not hasattr(result, "__arrow_c_stream__"):  # which pandas, Polars and DuckDB have
        raise refused(f"is a {kind}", "return a pyarrow.Table (or a pandas or Polars data frame)")
    try:
        return pa.RecordBatchReader.from_stream(result)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        named_once([str(name) for name in getattr(result, "columns", ())])
        raise refused(
            f"is a {kind} that makes no table: {'; '.join(map(str, error.args))}",
            "return columns, each with values of one type",
        ) from error

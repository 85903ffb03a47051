"""The engine `duckdb`: one SELECT over the pinned rows, in a database that can reach nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.transform import SqlTransform
from tradewind_runtime.engines import Job, Output, failed
from tradewind_runtime.engines.duckdb.database import cause, opened
from tradewind_runtime.engines.output import stage

BATCH = 65_536
#: DuckDB's words for what a table's own reader fails at: a store that is away for a moment is no error of the query.
UNREAD = "reading the stream registered as"


def transform(job: Job) -> Output:
    """Run the query; its rows are written as they come.

    Raises:
        StepError: TW545 where the query is not one SELECT or fails.
    """
    assert isinstance(job.spec, SqlTransform)
    with _told(duckdb.Error), opened(job.step) as database:
        for name, snapshot in job.tables.items():
            database.register(name, snapshot.dataset())
        _variables(database, job)
        _lock(database)
        rows = database.sql(_select(database, job.spec.query)).to_arrow_reader(BATCH)
        return stage(rows.schema, _batches(rows), job)


def _batches(rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """What the query fails at once its rows stream comes as an error of Arrow's; writing them has errors of its own."""
    with _told(OSError, pa.ArrowException):
        yield from rows


@contextmanager
def _told(*kinds: type[Exception]) -> Iterator[None]:
    """Around what DuckDB does: the query's errors in a line."""
    try:
        yield
    except kinds as error:
        if UNREAD in str(error):
            raise
        raise failed("transform.sql", error, None, cause=cause(error)) from error


def _variables(database: duckdb.DuckDBPyConnection, job: Job) -> None:
    """`getvariable('window_start')` and friends, as timestamps."""
    for name in ("window", "range"):
        if (span := getattr(job.context, name)) is not None:
            for end in ("start", "end"):
                value = getattr(span, end).isoformat()
                database.execute(f"SET VARIABLE {name}_{end} = TIMESTAMPTZ '{value}'")


def _lock(database: duckdb.DuckDBPyConnection) -> None:
    """No files, no network, no extensions, and no way to change that."""
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def _select(database: duckdb.DuckDBPyConnection, text: str) -> str:
    statements = database.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise StepError(
            "TW545",
            "transform.sql is not one SELECT",
            retryable=False,
            path="transform.sql",
            got=", ".join(str(one.type).rpartition(".")[2] for one in statements) or "nothing",
        )
    return text

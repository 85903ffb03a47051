"""Ingestion by Spark: its tasks read parts of a source by our own readers, and stage files; the lake commits them.

Spark has one thing to do, to be where the cores are. So each kind of source is read by the same client, with the same
settings and decoders, as in the step's own process, and a run may go on where one of the other engine has ended
(docs/decisions/0021-spark-reads-by-our-own-readers.md).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import pyarrow as pa
from pyspark.sql import SparkSession

from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.engines.spark import application, connect, executors, standalone
from tradewind_runtime.engines.spark.errors import at_work
from tradewind_runtime.engines.spark.shipping import ship_runtime
from tradewind_runtime.engines.spark.tasks import CORES, each
from tradewind_runtime.garbage import seldom_collected
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.sources import Access, BrokenObjectsError, Chunk, parts
from tradewind_runtime.sources.columns import RESERVED, known
from tradewind_runtime.sources.newcolumns import Columns
from tradewind_runtime.sources.writing import Written, write
from tradewind_runtime.staging import Staged

MOST = 64  # tasks of one commit: what they refuse comes back to this process


def read(context: StepContext, source: Source, access: Access, end: Mapping[str, Any], table: Table) -> Iterator[Chunk]:
    """As `Reader.read`; Spark is started once there is something to read.

    Raises:
        StepError: TW546 where Spark does not start or loses its tasks; the reader's own.
        BrokenObjectsError: for objects that are broken; nothing of what they were read with is then given.
    """
    settings = context.setting("spark", {})
    with ExitStack() as opened:
        spark = None
        for share in parts.of(source.kind).shares(source, access, end, table, cores(settings)):
            if not share.parts:
                assert share.schema is not None, "a share without parts says its columns"
                yield Chunk(share.schema, (), share.positions, share.marks, replace=share.replace)
                continue
            if spark is None:
                spark = opened.enter_context(application.of(context))
                ship_runtime(spark, context.scratch)
            answers, schema = _answers(spark, _Reading.of(source, access, table), share.parts)
            yield Chunk(
                schema, (), share.positions, share.marks, replace=share.replace,
                bad=[bad for answer in answers for bad in answer.bad],
                written=Written(
                    [file for answer in answers for file in answer.files],
                    sum(answer.rows for answer in answers), sum(answer.late for answer in answers),
                ),
            )  # fmt: skip


def cores(settings: Mapping[str, Any]) -> int:
    """How many tasks run at once, as far as a profile says; no more than MOST."""
    if executors.asked(settings) or "executors" in settings:
        wanted = executors.wanted(settings)
        return min(MOST, wanted.max * wanted.cores)
    if standalone.asked(settings) or connect.asked(settings):  # all that it has
        return CORES
    found = re.fullmatch(r"local\[(\d+)(,\d+)?\]", str(settings.get("master", "local[2]")))
    return min(MOST, int(found[1]) if found else os.cpu_count() or 1)


@dataclass(frozen=True)
class _Reading:
    """What every task is told."""

    source: Source
    access: Access  # without a lake and folders of this machine
    table: Table
    have: pa.Schema | None
    schemas: dict[str, str] = field(default_factory=dict)  # path → text of the user's schema files

    @classmethod
    def of(cls, source: Source, access: Access, table: Table) -> _Reading:
        folder = access.schemas
        files = [file for file in folder.rglob("*") if file.is_file()] if folder else []
        texts = {file.relative_to(folder).as_posix(): file.read_text() for file in files} if folder else {}
        # Whoever reads a part asks no lake: the table's columns are told, and its files are staged by its address.
        there = replace(access, lake=cast("Lake", None), scratch=None, schemas=None)
        return cls(source, there, table, table.schema(), texts)


#: An error as it travels, and whether to try again.
_Told: TypeAlias = tuple[tuple[Problem, ...], bool]


@dataclass
class _Answer:
    """What a task has to say: files that it has staged, and what cannot be read."""

    files: list[Staged] = field(default_factory=list)
    rows: int = 0
    late: int = 0
    schemas: list[pa.Schema] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    error: _Told | None = None
    broken: dict[str, _Told] = field(default_factory=dict)  # objects


def _answers(spark: SparkSession, reading: _Reading, of: Sequence[Any]) -> tuple[list[_Answer], pa.Schema]:
    """What all tasks found, once their files have one type for each column; and those columns."""
    while True:
        answers = _run(spark, reading, of)
        _check(answers)
        columns = _columns(answers, reading)
        types = {one.name: one.type for one in columns}
        if all(types.get(one.name) == one.type for answer in answers for some in answer.schemas for one in some):
            return answers, columns
        # Tasks have met columns in other types, or others that only the first rows may bring: once more, by these.
        reading = replace(reading, have=columns)


def _check(answers: Sequence[_Answer]) -> None:
    """Raise what tasks could not."""
    for answer in answers:
        if answer.error is not None:
            raise _error(answer.error)
    if broken := {key: _error(told) for answer in answers for key, told in answer.broken.items()}:
        raise BrokenObjectsError(broken)


def _error(told: _Told) -> StepError:
    (first, *_), retryable = told
    more = first.model_dump(exclude={"code", "message"}, exclude_none=True)
    return StepError(first.code, first.message, retryable=retryable, **more)


def _columns(answers: Sequence[_Answer], reading: _Reading) -> pa.Schema:
    """Columns of all files, in the types that hold what was found first; those of ingestion come last.

    Of a table that has none yet, and is to get no others later, those are the columns of the first rows.
    """
    schemas = [schema for answer in answers for schema in answer.schemas]
    own = [pa.schema([one for one in schema if one.name not in RESERVED]) for schema in schemas]
    begun = Columns.of(reading.source, known(reading.source, reading.have))
    found = Columns(next(filter(len, own), pa.schema([])), "add")
    if begun.policy == "add" or not begun.first:
        for schema in own:
            found.meet(schema.empty_table())
    return pa.schema([*found.schema, *(one for one in schemas[0] if one.name in RESERVED)])


def _run(spark: SparkSession, reading: _Reading, of: Sequence[Any]) -> list[_Answer]:
    with at_work(f"reading {reading.source.kind}"):
        return each(spark, partial(_task, reading), of)


def _task(reading: _Reading, part: Any) -> _Answer:
    """In a process of Spark's."""
    answer, source = _Answer(), reading.source
    with tempfile.TemporaryDirectory(prefix="tradewind-") as folder, seldom_collected():
        scratch, schemas = Path(folder, "scratch"), Path(folder, "schemas")
        scratch.mkdir()
        for path, text in reading.schemas.items():
            (schemas / path).parent.mkdir(parents=True, exist_ok=True)
            (schemas / path).write_text(text)
        access = replace(reading.access, scratch=scratch, schemas=schemas)
        try:
            for chunk in parts.of(source.kind).read(source, access, part, reading.have):
                written = write(reading.table, chunk.rows, chunk.schema, source, access.window)
                answer.files += written.files
                answer.rows += written.rows
                answer.late += written.late
                answer.schemas.append(chunk.schema)
                answer.bad += chunk.bad
        except BrokenObjectsError as broken:
            answer.broken = {key: (error.problems, error.retryable) for key, error in broken.errors.items()}
        except StepError as error:
            answer.error = (error.problems, error.retryable)
    return answer

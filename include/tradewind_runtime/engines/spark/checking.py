"""Checks on Spark: tasks judge, refuse and pass on rows, each those of some files; nothing of the table comes here.

What a task gives back is small: counts, numbers of rows that fail, examples, and the files that it wrote. A task that
is done again writes into a folder of its own, so of two attempts one is committed and the other is nobody's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import pyarrow as pa
from pyspark.sql import SparkSession, is_remote

from tradewind_runtime import reducing, sifting
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.engines.spark import application
from tradewind_runtime.engines.spark.errors import at_work
from tradewind_runtime.engines.spark.reducing import BySpark
from tradewind_runtime.engines.spark.shipping import ship_runtime
from tradewind_runtime.engines.spark.tasks import CORES, each
from tradewind_runtime.lake import Table
from tradewind_runtime.sifting import Numbers, Part, Reason
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.staging import Staged

if TYPE_CHECKING:
    from tradewind_runtime.answers import Answer
    from tradewind_runtime.expectations import Found, Suite

MOST = 2_000_000  # rows of one task, unless a file alone has more
Given = TypeVar("Given")
Done = TypeVar("Done")
#: Of each expectation whether it holds for a part, and its counts; or why one cannot be asked.
Judged: TypeAlias = Mapping[int, tuple[bool, dict[str, Any]]] | Problem


@contextmanager
def spread(context: StepContext, rows: Snapshot) -> Iterator[Spread]:
    """A Spark for the time of a check, and the rows in parts: one for each of its cores at least, where files allow.

    Raises:
        StepError: TW546 where it does not start, gets no executor, or fails.
    """
    with application.of(context) as spark:
        ship_runtime(spark, context.scratch)
        cores = CORES if is_remote() else max(1, spark.sparkContext.defaultParallelism)
        yield Spread(spark, rows, sifting.parts(rows, min(MOST, math.ceil(rows.count() / cores))))


@dataclass(frozen=True)
class Spread:
    """The engine `spark`."""

    spark: SparkSession
    rows: Snapshot
    parts: Sequence[Part]

    def judge(self, suite: Suite) -> Sequence[Answer]:
        """Row by row in tasks; of all rows at once by Spark itself, where it comes to what pandas comes to.

        The rest is asked here, on pandas, of the columns that it names: see `reducing`.
        """
        judged = self._by_rows(suite)
        with at_work("judging all rows at once"):
            judged |= reducing.reduced(suite, self.parts, BySpark(self.spark, self.rows, self.parts))
        return suite.validate(lambda columns: sifting.chunks(self.rows, columns), judged)

    def _by_rows(self, suite: Suite) -> Found:
        numbers = suite.reaching("row")
        found: Found = {number: [] for number in numbers}
        if not numbers:
            return found
        for judged in self._each("judging rows", partial(_judge, suite, numbers), self.parts):
            if isinstance(judged, Problem):
                raise _again(judged)
            for number, (success, result) in judged.items():
                found[number].append(suite.result(number, result, success=success))
        return found

    def refuse(self, source: str, reasons: Sequence[Reason], into: Table) -> tuple[list[Staged], int]:
        """A task, and a file, for each part that has some."""
        failing = sifting.union(reasons)
        given = [
            (part, [(asked, part.of(numbers)) for asked, numbers in reasons])
            for part in self.parts
            if len(part.of(failing))
        ]
        done = self._each("writing refused rows", partial(_refuse, source, into, into.snapshot()), given)
        return [file for files, _ in done for file in files], sum(count for _, count in done)

    def pass_on(self, failing: Numbers, into: Table, schema: pa.Schema, cut_by: str | None) -> list[Staged]:
        """A task for each part, and a file of it for each day."""
        given = [(part, part.of(failing)) for part in self.parts]
        done = self._each("writing rows", partial(_pass_on, into, schema, cut_by), given)
        return [file for files in done for file in files]

    def _each(self, what: str, work: Callable[[Given], Done], given: Sequence[Given]) -> list[Done]:
        """What a task makes of each, in their order."""
        with at_work(what):
            return each(self.spark, work, given)


# In tasks --------------------------------------------------------------------------------------


def _judge(suite: Suite, numbers: Sequence[int], part: Part) -> Judged:
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    found: Found = {}
    try:
        suite.in_chunks(numbers, lambda columns: sifting.chunks(part.rows, columns), found, part.first)
    except StepError as error:  # to raise it would be to have Spark try again
        return error.problems[0]
    return {number: (bool(results[0].success), results[0].result) for number, results in found.items()}


def _refuse(
    source: str, into: Table, known: Snapshot, given: tuple[Part, Sequence[Reason]]
) -> tuple[list[Staged], int]:
    part, reasons = given
    return sifting.refuse(part, source, reasons, into, known)


def _pass_on(into: Table, schema: pa.Schema, cut_by: str | None, given: tuple[Part, Numbers]) -> list[Staged]:
    part, failing = given
    return sifting.pass_on(part, failing, into, schema, cut_by)


def _again(problem: Problem) -> StepError:
    """What a task could not ask, as the step would have said it."""
    details = problem.model_dump(exclude={"code", "message", "severity"}, exclude_none=True)
    return StepError(problem.code, problem.message, retryable=False, **details)

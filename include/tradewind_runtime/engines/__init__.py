"""How a transform computes: one module an engine, each with `transform(job) -> Output`.

A new engine is one module here and one line in ENGINES.
"""

from __future__ import annotations

import importlib
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.transform import BeamTransform, PythonTransform, SparkTransform, SqlTransform

if TYPE_CHECKING:
    import pyarrow as pa

    from tradewind_runtime.context import StepContext
    from tradewind_runtime.lake import Table
    from tradewind_runtime.snapshot import Snapshot
    from tradewind_runtime.staging import Staged

ENGINES = {
    "python": "tradewind_runtime.engines.python",
    "duckdb": "tradewind_runtime.engines.duckdb",
    "spark": "tradewind_runtime.engines.spark",
    "beam": "tradewind_runtime.engines.beam",
}


@dataclass(frozen=True)
class TransformContext:
    """What a user's function or job is given beside its tables.

    `range` is what the output must cover: from the start of the training span to the window's end.
    Rows outside of it are left out; reading earlier rows, to look back, is fine.
    """

    window: Window | None
    range: Window | None
    args: Mapping[str, Any]
    log: logging.Logger = field(default=logging.getLogger("tradewind"), repr=False)


@dataclass(frozen=True)
class Job:
    """One transformation: pinned tables in, Parquet files below the output table out."""

    step: StepContext
    spec: SparkTransform | SqlTransform | PythonTransform | BeamTransform | None  # None: the only source as it is
    tables: Mapping[str, Snapshot]
    output: Table
    context: TransformContext
    time: str | None  # of the split: files are cut by its days


@dataclass(frozen=True)
class Output:
    """Files that lie below the output table, not yet part of it."""

    schema: pa.Schema
    files: Sequence[Staged]


class Engine(Protocol):
    """What a module of this package offers."""

    def transform(self, job: Job) -> Output:
        """Compute, write, and leave the commit to the step."""


def load(name: str) -> Engine:
    """The engine of that name, imported only now.

    Raises:
        StepError: TW546 where there is none.
    """
    if name not in ENGINES:
        raise StepError("TW546", f"there is no engine {name!r}", retryable=False, expected=", ".join(ENGINES))
    return cast("Engine", importlib.import_module(ENGINES[name]))


def failed(
    what: str,
    error: BaseException,
    code: Path | None,
    *,
    retryable: bool = False,
    cause: str | None = None,
    place: tuple[str | None, int | None] = (None, None),
) -> StepError:
    """A user's error in a line: what went wrong, and where in their file, as far as the error itself knows that."""
    told = cause or f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    file, line = place if place[0] else _place(error, code)
    return StepError(
        "TW545", f"{what}: {told}", retryable=retryable, file=file, line=line, fix="see the traceback in the log"
    )


@contextmanager
def guarded(what: str, code: Path | None) -> Iterator[None]:
    """Around a user's code: its errors are told in a line, after their traceback in the log."""
    try:
        yield
    except StepError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise failed(what, error, code) from error


def _place(error: BaseException, code: Path | None) -> tuple[str | None, int | None]:
    """The innermost line of the user's code that the error came through."""
    if code is None:
        return None, None
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(code):
        return Path(error.filename).relative_to(code).as_posix(), error.lineno
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(code):
            return path.relative_to(code).as_posix(), frame.lineno
    return None, None

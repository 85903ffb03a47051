"""What a pipeline died of, in a line. Workers send their exceptions as text."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job, failed
from tradewind_runtime.engines.beam.writing import WrongRowError
from tradewind_runtime.engines.output import refused

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in ')
_RAISED = re.compile(r"^([A-Za-z_][\w.]*): ?(.*)$", re.MULTILINE)
#: Beam's own words at a message's end.
_WHILE = re.compile(r" \[while running '[^\n]*?'\]")


@contextmanager
def told(what: str, job: Job, *, remote: bool) -> Iterator[None]:
    """Errors of a pipeline in a line. What fails elsewhere may be a lost worker, so it may be tried again."""
    try:
        yield
    except StepError:
        raise
    except Exception as error:
        traceback.print_exc()
        kind, said = cause(error)
        place = placed(str(error), job.step.code)
        if kind == WrongRowError.__name__:
            raise refused(said, "have each row fit the declared type") from error
        raise failed(
            what, error, job.step.code, cause=f"{kind}: {said}".rstrip(": "), retryable=remote, place=place
        ) from error


def cause(error: BaseException) -> tuple[str, str]:
    """The kind and the words of the last exception that a worker's traceback ends with, else of the error itself."""
    text = str(error)
    raised = _RAISED.findall(text) if "Traceback (most recent call last)" in text else []
    if not raised:
        first = text.strip().splitlines()
        return type(error).__name__, _WHILE.sub("", first[0]) if first else ""
    kind, said = raised[-1]
    return kind.rpartition(".")[2], _WHILE.sub("", said)


def placed(text: str, code: Path | None) -> tuple[str | None, int | None]:
    """The last line of the user's code in a worker's traceback."""
    frames = [(Path(file), int(line)) for file, line in _FRAME.findall(text)]
    own = [(file, line) for file, line in frames if code is not None and file.is_relative_to(code)]
    if not own or code is None:
        return None, None
    file, line = own[-1]
    return file.relative_to(code).as_posix(), line

"""What a job died of, in a line."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from grpc import RpcError
from py4j.protocol import Py4JError
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import is_remote

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job, failed

#: What PySpark raises when Spark itself fails, or is no longer there.
LOST = (PySparkException, Py4JError, RpcError)
#: How gRPC tells of a call that failed; PySpark's own errors may hold it as text.
_CALL = re.compile(r'status = StatusCode\.(\w+)\s+details = "(.*)"')


@contextmanager
def told(what: str, job: Job) -> Iterator[None]:
    """Errors of the job in a line. What fails while Spark runs may be a lost executor, so it may be tried again."""
    try:
        yield
    except StepError:
        raise
    except (AnalysisException, ParseException) as error:
        traceback.print_exc()
        raise failed(what, error, job.step.code, cause=cause(error)) from error
    except LOST as error:
        traceback.print_exc()
        _needs_python(error)
        raise failed(what, error, job.step.code, cause=cause(error), retryable=True) from error
    except Exception as error:
        traceback.print_exc()
        raise failed(what, error, job.step.code) from error


@contextmanager
def at_work(what: str) -> Iterator[None]:
    """Errors of tasks of our own. An executor that was lost for good, or ran out of memory, may do better next time.

    Raises:
        StepError: TW546 where Spark fails.
    """
    try:
        yield
    except LOST as error:
        traceback.print_exc()
        _needs_python(error)
        if lacking := re.search(r"ModuleNotFoundError: No module named '([^']+)'", str(error)):
            raise _of_python(
                f"lack a package: {lacking[1]}", "one that has Tradewind's packages", final=True
            ) from error
        raise StepError(
            "TW546", f"Spark failed at {what}: {cause(error)}",
            fix="see the log above; a worker that was lost or had too little memory may be there next time",
        ) from error  # fmt: skip


def _needs_python(error: BaseException) -> None:
    if found := re.search(r'Cannot run program "([^"]*python[^"]*)"', str(error)):
        raise _of_python(f"cannot start the Python {found[1]}", "the one that they have") from error


def _of_python(what: str, wanted: str, *, final: bool = False) -> StepError:
    """What is amiss with that of Spark's workers; a Connect server's is not for us to name."""
    fix, path = f"install it on each of them, or name {wanted}", "settings.spark.python"
    if is_remote():
        return StepError("TW546", f"Spark's workers {what}", retryable=not final, fix=f"{fix} in the server's settings")
    return StepError("TW546", f"Spark's workers {what}", retryable=not final, fix=fix, path=path)


def cause(error: BaseException) -> str:
    """The last cause that Spark's long text names: of a Python worker, else of the JVM, else its first line."""
    if call := _CALL.search(str(error)):
        return f"Spark Connect: {call[1]}: {call[2]}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    if any("Traceback (most recent call last)" in line for line in lines):
        raised = [line for line in lines if re.match(r"\w[\w.]*(Error|Exception|Exit|Interrupt|Warning)\b", line)]
        if raised:
            return raised[-1]
    caused = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (caused or lines or [type(error).__name__])[-1 if caused else 0].strip()

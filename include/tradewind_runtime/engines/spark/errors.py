"""What a job died of, in a line."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import AnalysisException, ParseException, PySparkException

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job, failed


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
    except (PySparkException, Py4JError) as error:
        traceback.print_exc()
        raise failed(what, error, job.step.code, cause=cause(error), retryable=True) from error
    except Exception as error:
        traceback.print_exc()
        raise failed(what, error, job.step.code) from error


def cause(error: BaseException) -> str:
    """The last cause that Spark's long text names: of a Python worker, else of the JVM, else its first line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if any(line.lstrip().startswith("Traceback (most recent call last)") for line in lines):
        raised = [line for line in lines if re.match(r"\w[\w.]*(Error|Exception|Exit|Interrupt|Warning)\b", line)]
        if raised:
            return raised[-1]
    caused = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (caused or lines or [type(error).__name__])[-1 if caused else 0].strip()

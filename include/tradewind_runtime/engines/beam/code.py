"""A user's modules on the way to workers, which cannot import them by their names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.internal.cloudpickle import cloudpickle

from tradewind_runtime.engines import Job


@contextmanager
def travelling(job: Job, *, by_value: bool) -> Iterator[None]:
    """While a pipeline is handed over, what was imported of the run's user code goes along as it is.

    Workers in this process import it: there, a class is the same one before and after.
    """
    own = f"{job.step.code}/" if job.step.code and by_value else None
    modules = [
        one for one in tuple(sys.modules.values()) if own and (getattr(one, "__file__", None) or "").startswith(own)
    ]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)

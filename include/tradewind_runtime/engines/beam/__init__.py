"""The engine `beam`: a user's pipeline over pinned Parquet files; what it gives is written and not committed.

Workers read a snapshot's files by their names and write Parquet into a folder of the step's own. What counts is
the list that the pipeline ends with: a bundle that was done twice has left files that nobody names.
"""

from __future__ import annotations

import importlib.util

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job, Output


def transform(job: Job) -> Output:
    """Run `fn(pipeline, tables, context)` and write the rows of its PCollection, a file a day.

    Raises:
        StepError: TW545 where the function or its pipeline fails, TW546 where Beam is missing, its settings are not
            such or its runner is not there, TW547 where the result is no table.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise StepError(
            "TW546",
            "transform.beam: the step's environment has no apache_beam",
            retryable=False,
            path="transform.beam",
            expected="an environment with the extra 'beam'",
            fix="defaults: {steps: {transform: {environment: beam}}}; `make setup EXTRAS=beam` makes it",
            docs="guides/beam.md",
        )
    from tradewind_runtime.engines.beam.running import run

    return run(job)

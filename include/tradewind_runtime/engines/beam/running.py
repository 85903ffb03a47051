"""One transformation as one pipeline: built, run to its end, and what it has written."""

from __future__ import annotations

import json
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.runner import PipelineState

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.transform import BeamTransform
from tradewind_runtime.engines import Job, Output, guarded
from tradewind_runtime.engines.beam.code import travelling
from tradewind_runtime.engines.beam.errors import told
from tradewind_runtime.engines.beam.options import installed, options, settings
from tradewind_runtime.engines.beam.schema import declared
from tradewind_runtime.engines.beam.tables import Store, rows
from tradewind_runtime.engines.beam.writing import Written
from tradewind_runtime.engines.functions import find
from tradewind_runtime.engines.output import refused, shape
from tradewind_runtime.staging import Staged


def run(job: Job) -> Output:
    """Build the pipeline, run it, and read the list of files that it ends with.

    Raises:
        StepError: TW545, TW546, TW547.
    """
    assert isinstance(job.spec, BeamTransform)
    name, wanted = job.spec.function, settings(job)
    installed(wanted)
    what = f"transform function {name}"
    function = find(name, job, "transform.beam.function")
    pipeline = beam.Pipeline(options=options(wanted, job))
    store = Store(job.step.request.lake, job.step.request.connections.get("lake"))
    tables = {source: rows(pipeline, source, snapshot, store) for source, snapshot in job.tables.items()}
    with guarded(what, job.step.code):
        result = function(pipeline, tables, job.context)
    found, given = _result(result, name)
    schema = shape(given, job)
    folder = job.output.staging()
    listing = f"tables/{job.output.name}/data/{folder.rpartition('/')[2]}/files.json"
    found | "tradewind write" >> Written(
        store, job.output.name, folder, listing, given, schema, job.time, job.context.range
    )
    with told(what, job, remote=wanted.runner != "direct"), travelling(job, by_value=wanted.remote):
        _to_its_end(pipeline, what)
    return Output(schema, _listed(job, listing))


def _result(result: Any, name: str) -> tuple[beam.PCollection, pa.Schema]:
    """What the function has returned: a PCollection of a declared type, or one and its schema."""
    found, given = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(found, beam.PCollection):
        raise refused(f"is a {type(found).__name__}", f"return a PCollection of rows from {name}")
    if given is None:
        given = declared(found.element_type)
    elif not isinstance(given, pa.Schema):
        raise refused(f"has a {type(given).__name__} for its schema", "return (rows, pyarrow.schema([…]))")
    return found, given


def _to_its_end(pipeline: beam.Pipeline, what: str) -> None:
    """A job that is elsewhere is cancelled when the step is told to stop; who is killed cannot tell it."""
    running = pipeline.run()
    try:
        state = running.wait_until_finish()
    except BaseException:
        if not PipelineState.is_terminal(running.state):
            running.cancel()
        raise
    if state not in (PipelineState.DONE, None):
        raise StepError("TW545", f"{what}: the job ended as {state}", fix="see the runner's own log of it")


def _listed(job: Job, listing: str) -> list[Staged]:
    documents = job.step.lake.documents
    content = documents.get(listing)
    if content is None:
        raise StepError(
            "TW546",
            "Beam's workers have written no list of files where the step looks for it",
            got=listing,
            fix="do they reach the same lake? see settings.beam",
        )
    documents.delete(listing)
    return [Staged(**one) for one in json.loads(content)]

"""The profile's `settings.beam` as Beam's own options."""

from __future__ import annotations

import difflib
import importlib
import re
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from pydantic import ValidationError

from tradewind_runtime.contract.beam import BeamSettings
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job

#: By Beam's own names. Not `DirectRunner`: that one looks for another runner's binary on the network first.
_RUNNERS = {
    "direct": "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}


def settings(job: Job) -> BeamSettings:
    """What the profile says.

    Raises:
        StepError: TW546 where it is not such, or its workers cannot reach the lake.
    """
    try:
        found = BeamSettings.model_validate(job.step.setting("beam", {}))
    except ValidationError as error:
        first = error.errors()[0]
        said = ": ".join(map(str, (*first["loc"], first["msg"])))
        raise _refused(
            f"settings.beam are not such: {said}", "beam: {runner: flink, options: {job_endpoint: HOST:8099}}"
        ) from error
    if found.remote and not job.step.lake.root.startswith("s3://"):
        raise _refused(f"workers of Beam's runner {found.runner} read and write a lake on S3", "lake: {uri: s3://…}")
    return found


def installed(wanted: BeamSettings) -> None:
    """That the environment has what a runner needs beside Beam.

    Raises:
        StepError: TW546 where it has not.
    """
    if wanted.runner == "dataflow":
        try:
            importlib.import_module("google.cloud.dataflow")
        except ImportError as error:
            raise _refused(
                "Beam's runner dataflow needs Google's libraries, which are not there",
                "an environment with apache-beam[gcp]: environments: {beam: {python: …, image: …}}",
            ) from error


def options(wanted: BeamSettings, job: Job) -> PipelineOptions:
    """Beam's options, closed: one that Beam does not know would be passed over in silence.

    Raises:
        StepError: TW546 where there is no such option.
    """
    known = PipelineOptions([]).get_all_options()
    for name in wanted.options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise _refused(
                f"settings.beam.options: Beam has no option {name!r}",
                f"write {near[0]}" if near else "see Beam's own list of them",
            )
    return PipelineOptions([], **_own(wanted, job), **{name: _listed(value) for name, value in wanted.options.items()})


def _own(wanted: BeamSettings, job: Job) -> dict[str, Any]:
    request = job.step.request
    name = re.sub(r"[^a-z0-9]+", "-", f"tw-{request.pipeline}-{request.id}-{request.fingerprint[:10]}".lower())
    found: dict[str, Any] = {"runner": _RUNNERS[wanted.runner], "job_name": name, "pickle_library": "cloudpickle"}
    if wanted.runner == "direct":
        found["direct_running_mode"] = "in_memory" if wanted.threads == 1 else "multi_threading"
        found["direct_num_workers"] = wanted.threads
    return found


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _refused(message: str, fix: str) -> StepError:
    return StepError("TW546", message, retryable=False, fix=fix, path="settings.beam")

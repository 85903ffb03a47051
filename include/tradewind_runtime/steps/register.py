"""`register`: a version in the registry that leads back to all that it came from. Never twice for one artefact."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tradewind_runtime import artefacts
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.promote import RegisterConfig
from tradewind_runtime.contract.refs import ArtefactRef, DatasetRef, ModelRef, ValueRef
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.contract.usage import Usage
from tradewind_runtime.provenance import lineage
from tradewind_runtime.registries import Registration, Version, registry

PACKAGES = ("tradewind", "xgboost", "xgboost-cpu", "scikit-learn", "numpy", "pyarrow", "pandas", "skops")


def run(context: StepContext) -> StepOutcome:
    """Make the version, or adopt it. One that passed the gate becomes the challenger, once."""
    config = context.request.configured(RegisterConfig)
    digest = context.input("model", ArtefactRef).digest
    wanted = _registration(context, config, digest)
    version, new = registry(config.registry).register(context.registry_uri(), wanted)
    context.log.info(
        "%s version %s of %s (%s)%s",
        "registered" if new else "adopted",
        version.version,
        config.model,
        digest[:12],
        f", {', '.join(version.aliases)}" if version.aliases else "",
    )
    return StepOutcome(
        outputs={"version": ModelRef(name=config.model, version=version.version, digest=digest)},
        facts={
            "model": config.model,
            "version": version.version,
            "digest": digest,
            "new": new,
            "run": version.run,
            "experiment": wanted.experiment,
        },
        links=_links(context.registry_uri(), version),
    )


def _registration(context: StepContext, config: RegisterConfig, digest: str) -> Registration:
    artefact = artefacts.load(context.lake.documents, digest)
    files = {
        name: json.loads(artefact.files[name])
        for name in ("training.json", "signature.json", "input_example.json")
        if name in artefact.files
    }
    evaluation = context.input("evaluation", ValueRef).value
    verdict = evaluation.get("verdict")
    origin = _origin(context, config, digest)
    training = files.get("training.json", {})
    return Registration(
        model=config.model,
        digest=digest,
        experiment=context.request.pipeline,
        description=config.description,
        challenger=isinstance(verdict, Mapping) and bool(verdict.get("passed")),
        tags=_tags(context, config, artefact.manifest.framework, origin),
        params=dict(training.get("params", {})) | {"trained_by": training.get("function") or training.get("estimator")},
        metrics=_metrics(evaluation) | _system(origin["steps"].get("train", {}).get("usage")),
        texts={
            "provenance.json": json.dumps(origin, indent=1, default=str),
            "pipeline.yaml": config.yaml,
            "manifest.json": artefact.manifest.model_dump_json(indent=1),
            "evaluation.json": json.dumps(evaluation, indent=1, default=str),
        },
        columns={column["name"]: column["type"] for column in files.get("signature.json", {}).get("inputs", ())},
        example=tuple(files.get("input_example.json", ())),
    )


def _origin(context: StepContext, config: RegisterConfig, digest: str) -> dict[str, Any]:
    request = context.request
    features = context.input("features", DatasetRef)
    steps = lineage(context.lake.documents, request.pipeline, request.run_id)
    code = next((step["code"] for name in ("train", "tune") if (step := steps.get(name, {})).get("code")), None)
    return {
        "artefact": digest,
        "pipeline": request.pipeline,
        "run": request.run_id,
        "fingerprint": request.fingerprint,
        "window": request.window.model_dump(mode="json") if request.window else None,
        "offsets": request.pins.get("sources"),
        "tables": {features.table: features.version} | dict(request.pins.get("tables") or {}),
        "code": code,
        "commit": config.commit,
        "environment": steps.get("train", {}).get("environment"),
        "python": sys.version.split()[0],
        "packages": _packages(),
        "yaml": config.yaml,
        "steps": steps,
    }


def _tags(context: StepContext, config: RegisterConfig, framework: str, origin: Mapping[str, Any]) -> dict[str, str]:
    window = context.request.window
    tags = {
        "pipeline": context.request.pipeline,
        "run": context.request.run_id,
        "owner": config.owner,
        "commit": config.commit,
        "framework": framework,
        "fingerprint": context.request.fingerprint,
        "window": f"{window.start.isoformat()} {window.end.isoformat()}" if window else "",
        "tables": json.dumps(origin["tables"]),
        "offsets": json.dumps(origin["offsets"]),
        "code": (origin["code"] or {}).get("archive", ""),
        "environment": origin["environment"] or "",
        "artefact": f"{context.lake.root}/models/{origin['artefact']}",
    }
    return {f"tradewind.{name}": value for name, value in tags.items() if value}


def _metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    ours, theirs = evaluation.get("candidate") or {}, evaluation.get("champion") or {}
    counts = {name: float(evaluation[name]) for name in ("rows", "compared_rows") if evaluation.get(name) is not None}
    return {**ours, **{f"champion_{name}": value for name, value in theirs.items()}, **counts}


def _system(usage: dict[str, Any] | None) -> dict[str, float]:
    """What the training used, under names that MLflow shows among its system metrics."""
    if usage is None:
        return {}
    used = Usage.model_validate(usage)
    found = {
        "system/cpu_cores": used.cpu_mean,
        "system/memory_peak_megabytes": used.memory_peak / 1e6,
        "system/seconds": used.seconds,
    }
    for number, gpu in enumerate(used.gpus):
        found[f"system/gpu_{number}_memory_peak_megabytes"] = gpu.memory_peak / 1e6
        if gpu.utilisation_mean is not None:
            found[f"system/gpu_{number}_utilization_percentage"] = gpu.utilisation_mean
    return found


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _links(uri: str, version: Version) -> dict[str, str]:
    """Pages of the registry's own web UI, without the login of its address."""
    if not uri.startswith("http"):
        return {}
    scheme, _, rest = uri.partition("://")
    page = f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}/#"
    found = {"Model version": f"{page}/models/{version.model}/versions/{version.version}"}
    if version.run and version.experiment:
        found["MLflow run"] = f"{page}/experiments/{version.experiment}/runs/{version.run}"
    return found

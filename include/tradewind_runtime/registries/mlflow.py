"""MLflow as registry: runs for metrics, versions for pointers, aliases for roles. No model file, no pickle.

Every write can be repeated: a run and a version are found again by the digest that they are tagged with, and a
version counts as registered once it has its last tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.registries import CHALLENGER, CHAMPION, Registration, Version

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

DIGEST = "tradewind.digest"
READY = "tradewind.registered"  # the last tag: what comes before it has been done
REPLACED = "tradewind.replaced"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # of an alias: no such model, no such alias
_TYPES = {"bool": "boolean", "float": "float", "double": "double", "string": "string"}


def champion(uri: str, model: str) -> tuple[str, str] | None:
    """Digest and version of the champion."""
    return _role(uri, model, CHAMPION)


def challenger(uri: str, model: str) -> tuple[str, str] | None:
    """Digest and version of the challenger."""
    return _role(uri, model, CHALLENGER)


def models(uri: str) -> list[str]:
    """Names of all models."""
    with answering(uri):
        return sorted(found.name for found in pages(client_of(uri).search_registered_models))


def versions(uri: str, model: str) -> list[Version]:
    """All versions, newest first."""
    with answering(uri):
        client = client_of(uri)
        found = _search(client, f"name = '{model}'")
        aliases = _aliases(client, model) if found else {}
        runs = {str(one.run_id): client.get_run(one.run_id) for one in found if one.run_id}
        return sorted(
            (_version(one, aliases, runs.get(str(one.run_id))) for one in found),
            key=lambda one: int(one.version),
            reverse=True,
        )


def promote(uri: str, model: str, version: str) -> Version:
    """Make a version the champion; it remembers whom it replaced, and is no longer the challenger.

    Raises:
        StepError: TW572 where there is no such version.
    """
    with answering(uri):
        client = client_of(uri)
        try:
            found = client.get_model_version(model, version)
        except MlflowException as error:
            if error.error_code not in _ABSENT:
                raise
            raise StepError(
                "TW572", f"model {model!r} has no version {version}", retryable=False, fix="tradewind model ls"
            ) from error
        aliases = _aliases(client, model)
        before = aliases.get(CHAMPION)
        if before is not None and before != version:
            client.set_model_version_tag(model, version, REPLACED, before)
        client.set_registered_model_alias(model, CHAMPION, version)
        if aliases.get(CHALLENGER) == version:
            client.delete_registered_model_alias(model, CHALLENGER)
        return _version(found, _aliases(client, model), None)


def register(uri: str, wanted: Registration) -> tuple[Version, bool]:
    """The version of that digest, and whether it was made now."""
    with answering(uri):
        client = client_of(uri)
        found = next(iter(_search(client, f"name = '{wanted.model}' and tags.`{DIGEST}` = '{wanted.digest}'")), None)
        new = found is None or READY not in found.tags
        if found is None:
            run = _run(client, uri, wanted)
            _describe(client, run, wanted)
            found = _create(client, run, wanted)
        if new:
            if wanted.challenger:
                client.set_registered_model_alias(wanted.model, CHALLENGER, str(found.version))
            client.set_model_version_tag(wanted.model, str(found.version), READY, "yes")
        run = client.get_run(str(found.run_id))
        return _version(found, _aliases(client, wanted.model), run), new


# A run ----------------------------------------------------------------------------------------


def _run(client: MlflowClient, uri: str, wanted: Registration) -> Run:
    """The digest's run: one that an earlier attempt made, or a new one."""
    experiment = experiment_of(client, uri, wanted.experiment)
    where = f"tags.`{DIGEST}` = '{wanted.digest}' and tags.`tradewind.model` = '{wanted.model}'"
    if found := client.search_runs([experiment], where, max_results=1):
        return found[0]
    tags = {DIGEST: wanted.digest, "tradewind.model": wanted.model}
    return client.create_run(experiment, tags=tags, run_name=wanted.digest[:12])


def experiment_of(client: MlflowClient, uri: str, name: str) -> str:
    """The id of an experiment, made where there is none of that name."""

    def existing() -> str | None:
        found = client.get_experiment_by_name(name)
        return None if found is None else str(found.experiment_id)

    if (id := existing()) is not None:
        return id
    try:
        return str(client.create_experiment(name, artifact_location=_beside(uri, name)))
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS" and (id := existing()) is not None:
            return id
        raise


def _beside(uri: str, name: str) -> str | None:
    """Without a server, artefacts lie beside the file: MLflow's default is the folder that it happens to run in."""
    file = _sqlite(uri)
    return None if file is None else (file.parent / "artifacts" / quote(name, safe="")).absolute().as_uri()


def _describe(client: MlflowClient, run: Run, wanted: Registration) -> None:
    """Parameters, metrics, tags and texts. A time of its own for each metric would double it on a retry."""
    id, at = run.info.run_id, run.info.start_time
    client.log_batch(
        id,
        params=[Param(name, str(value)[:6000]) for name, value in wanted.params.items()],
        metrics=[Metric(name, float(value), at, 0) for name, value in wanted.metrics.items()],
        tags=[RunTag(name, str(value)[:5000]) for name, value in wanted.tags.items()],
    )
    texts = dict(wanted.texts) | _model_files(run, wanted)
    for name, text in texts.items():
        client.log_text(id, text, f"model/{name}")
    client.set_terminated(id, "FINISHED")


def _model_files(run: Run, wanted: Registration) -> dict[str, str]:
    """What MLflow's pages read: the signature and an example. Its flavour says where the model is."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    signature = (
        ModelSignature(
            inputs=Schema([ColSpec(_mlflow_type(kind), name, required=False) for name, kind in wanted.columns.items()]),
            outputs=Schema([ColSpec("double", "predict")]),
        )
        if wanted.columns
        else None
    )
    columns = list(wanted.columns)
    example = {"columns": columns, "data": [[row.get(name) for name in columns] for row in wanted.example]}
    model = Model(
        artifact_path="model",
        run_id=run.info.run_id,
        model_uuid=wanted.digest[:32],
        utc_time_created=datetime.fromtimestamp(run.info.start_time / 1000, UTC).replace(tzinfo=None),
        flavors={"tradewind": {"digest": wanted.digest, "path": f"models/{wanted.digest}"}},
        signature=signature,
        saved_input_example_info={"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"},
    )
    return {"MLmodel": model.to_yaml(), "input_example.json": json.dumps(example)}


def _mlflow_type(kind: str) -> str:
    return _TYPES.get(kind) or ("long" if "int" in kind else "double")


# A version ------------------------------------------------------------------------------------


def _create(client: MlflowClient, run: Run, wanted: Registration) -> ModelVersion:
    try:
        client.create_registered_model(wanted.model, description=wanted.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {name: str(value)[:5000] for name, value in wanted.tags.items()} | {DIGEST: wanted.digest}
    return client.create_model_version(
        wanted.model, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags, description=wanted.description
    )


def _role(uri: str, model: str, alias: str) -> tuple[str, str] | None:
    with answering(uri):
        try:
            found = client_of(uri).get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise
        digest = found.tags.get(DIGEST)
        if digest is None:
            raise StepError(
                "TW573",
                f"version {found.version} of {model!r} is the {alias} but has no {DIGEST}",
                retryable=False,
                fix="give the alias to a version that Tradewind registered",
            )
        return digest, str(found.version)


def _aliases(client: MlflowClient, model: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}


def _version(found: ModelVersion, aliases: Mapping[str, str], run: Run | None) -> Version:
    version = str(found.version)
    return Version(
        model=found.name,
        version=version,
        digest=found.tags.get(DIGEST, ""),
        aliases=tuple(sorted(alias for alias, of in aliases.items() if of == version)),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        metrics=dict(run.data.metrics) if run else {},
        params=dict(run.data.params) if run else {},
        tags=dict(found.tags),
        run=found.run_id,
        experiment=str(run.info.experiment_id) if run else None,
    )


# The client -----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def client_of(uri: str) -> MlflowClient:
    """A client of one address."""
    if (file := _sqlite(uri)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _sqlite(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(unquote(parts.path).removeprefix("/")) if parts.scheme == "sqlite" else None


def _search(client: MlflowClient, where: str) -> list[ModelVersion]:
    return list(pages(lambda **page: client.search_model_versions(where, **page)))


def pages(ask: Any) -> Iterator[Any]:
    """All that a search finds, page by page."""
    token: str | None = None
    while True:
        page = ask(page_token=token)
        yield from page
        if not (token := page.token):
            return


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """MLflow's own exception, as an error that says where the registry should be."""
    try:
        yield
    except MlflowException as error:
        where = urlsplit(uri)
        shown = where._replace(netloc=where.netloc.rpartition("@")[2]).geturl()
        raise StepError(
            "TW571",
            "the model registry did not answer as it should",
            got=str(error)[:500],
            expected=f"MLflow at {shown}",
            fix="is it up? tradewind dev status",
        ) from error

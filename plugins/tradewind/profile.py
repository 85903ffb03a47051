"""The profile: where and how steps run. The YAML of a pipeline says neither."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from tradewind.dev.ports import LOOPBACK
from tradewind.errors import nearest
from tradewind.plan.kinds import KINDS, RunnerName
from tradewind.servers.settings import OwnServer
from tradewind_runtime.contract.base import ConnectionId, Frozen
from tradewind_runtime.contract.beam import BeamSettings
from tradewind_runtime.contract.errors import Problem, TradewindError
from tradewind_runtime.launchers.pod import PodSettings, refusals


class LakeSettings(Frozen):
    """Where documents and tables live."""

    uri: str = Field("file://{home}/lake", description="file:///… or s3://…")
    connection: ConnectionId | None = Field(None, description="Airflow's connection of the store, where it needs one.")


class Environment(Frozen):
    """What a step's process is started with: an interpreter here, an image in a pod."""

    python: str | None = Field(None, description="The interpreter of a process.")
    image: str | None = Field(None, description="The image of a pod, by digest best: it names what a step ran on.")


class Registry(Frozen):
    """The model registry; without a connection, a file of this machine."""

    connection: ConnectionId | None = Field(None, description="Airflow's connection of MLflow.")
    uri: str = Field("sqlite:///{home}/mlflow/mlflow.db", description="Its file, without a connection.")


class Serving(Frozen):
    """How the model server is reached."""

    connection: ConnectionId | None = Field(None, description="Airflow's connection of the server.")
    own: OwnServer | None = Field(
        None, description="A server of its own for each endpoint, on the cluster; else one serves all of the lake's."
    )


class Profile(Frozen):
    """One file of `profiles/`."""

    profile: str = Field(description="Its name: that of its file.")
    lake: LakeSettings = Field(LakeSettings(), description="Where documents and tables live.")
    runner: RunnerName = Field("process", description="Where steps run, of a kind that can run there.")
    runners: dict[str, RunnerName] = Field(default_factory=dict, description="By step kind.")
    environments: dict[str, Environment] = Field(
        default_factory=dict, description="What steps are started with; `steps` where the YAML names no other."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Handed to every step: `spark`, `beam`, `threads` (1), `duckdb` (`memory`), `chunk_rows`, "
        "`companions_timeout` (seconds).",
    )
    registry: Registry = Field(Registry(), description="Where models are registered.")
    serving: Serving = Field(Serving(), description="How the model server is reached.")
    kubernetes: PodSettings = Field(PodSettings(), description="Pods of steps, and what a YAML may ask for them.")
    pool: str = Field("tradewind_heavy", description="Airflow's pool for heavy steps.")
    heavy: tuple[str, ...] = Field(
        ("check", "transform", "tune", "train", "evaluate", "score", "monitor"), description="Kinds of heavy steps."
    )
    stack: tuple[str, ...] = Field(
        ("airflow", "kafka", "s3", "mlflow", "serving"), description="What `tradewind dev up` starts."
    )
    host: str = Field(LOOPBACK, description="Address of this machine that the stack listens on and is known by.")
    ports: dict[str, int] = Field(default_factory=dict, description="Wanted ports of the local stack.")

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        try:
            BeamSettings.model_validate(settings.get("beam", {}))
        except ValidationError as error:  # whose own text shows what was given
            told = (": ".join(map(str, (*one["loc"], one["msg"]))) for one in error.errors(include_input=False))
            raise ValueError("beam: " + "; ".join(told)) from None
        return settings

    def runner_of(self, kind: str) -> RunnerName:
        """Where steps of a kind run: as is said of it, else by the default, else where it can."""
        can = KINDS[kind].runners
        return self.runners.get(kind) or (self.runner if self.runner in can else can[0])


def project_root(start: Path | None = None) -> Path:
    """The project: TRADEWIND_PROJECT, or the nearest folder above that has `profiles/`."""
    if named := os.environ.get("TRADEWIND_PROJECT"):
        return Path(named)
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "profiles").is_dir():
            return folder
    raise TradewindError(
        Problem(
            code="TW301",
            message=f"no Tradewind project at or above {here}",
            fix="go to a folder that has profiles/, or set TRADEWIND_PROJECT",
        )
    )


def home(project: Path) -> Path:
    """Where the local stack and the local lake keep their state."""
    return Path(os.environ.get("TRADEWIND_HOME") or project / ".tradewind")


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(f"{{{word}}}", text)
        return value
    if isinstance(value, dict):
        return {key: _filled(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, words) for item in value]
    return value


def load_profile(name: str | None = None, *, project: Path | None = None) -> Profile:
    """`profiles/<name>.yaml`; TRADEWIND_PROFILE or `local` by default. `{project}` and `{home}` are filled in.

    Raises:
        TradewindError: TW302 where there is none, TW303 where it is wrong, TW304 where a kind of step cannot do what
            it asks for, TW162 and TW163 where its own resources are not what it has and allows.
    """
    root = project or project_root()
    name = name or os.environ.get("TRADEWIND_PROFILE") or "local"
    path = root / "profiles" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(found.stem for found in (root / "profiles").glob("*.yaml"))
        raise TradewindError(
            Problem(code="TW302", message=f"there is no profile {name!r}", expected=", ".join(known), file=str(path))
        )
    try:
        body = yaml.safe_load(path.read_text())
        whole = Profile.model_validate(body).model_dump()  # with the defaults, which have words in them too
        profile = Profile.model_validate(_filled(whole, {"project": str(root), "home": str(home(root))}))
    except (yaml.YAMLError, ValidationError) as error:
        raise TradewindError(Problem(code="TW303", message=_told(error), file=str(path))) from error
    if problems := [problem.model_copy(update={"file": str(path)}) for problem in _impossible(profile)]:
        raise TradewindError(*problems)
    return profile


def _told(error: yaml.YAMLError | ValidationError) -> str:
    """Without what was given, which may be a secret."""
    if isinstance(error, yaml.YAMLError):
        return str(error)
    found = error.errors(include_input=False)
    return "; ".join(": ".join((".".join(map(str, one["loc"])), one["msg"])) for one in found)


def _impossible(profile: Profile) -> Iterator[Problem]:
    """Kinds of steps that there are not, runners that a kind does not have, pods that it asks for in vain."""
    asked: list[tuple[str, str, RunnerName | None]] = [
        *((f"runners.{kind}", kind, runner) for kind, runner in profile.runners.items()),
        *((f"kubernetes.resources.{kind}", kind, "kubernetes") for kind in profile.kubernetes.resources),
        *((f"heavy[{index}]", kind, None) for index, kind in enumerate(profile.heavy)),
    ]
    for path, kind, runner in asked:
        if kind not in KINDS:
            yield Problem(
                code="TW304",
                message=f"there is no kind of step {kind!r}",
                path=path,
                got=kind,
                expected=", ".join(KINDS),
                suggestion=nearest(kind, KINDS),
            )
        elif runner is not None and runner not in KINDS[kind].runners:
            can = " or ".join(KINDS[kind].runners)
            yield Problem(
                code="TW304",
                message=f"a step of kind {kind!r} does not run on {runner}",
                path=path,
                got=runner,
                expected=can,
                fix=f"leave it out: it runs on {can}, whatever the others do",
            )
    for kind, wanted in profile.kubernetes.resources.items():
        for refusal in refusals(wanted, profile.kubernetes):
            yield Problem(
                code=refusal.code,
                message=refusal.message,
                path=".".join(map(str, ("kubernetes.resources", kind, *refusal.path))),
                got=refusal.got,
                expected=", ".join(refusal.known) or None,
                suggestion=nearest(refusal.got, refusal.known),
                fix=refusal.fix,
            )

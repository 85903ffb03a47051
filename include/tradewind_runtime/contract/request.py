"""The two documents of the one contract: a step takes a StepRequest and gives a StepResult."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from tradewind_runtime.contract.base import Frozen, digest
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Output, Window

Config = TypeVar("Config", bound=BaseModel)


class CodeRef(Frozen):
    """User code: the archive that travels, and what of it the step depends on."""

    archive: str = Field(description="SHA-256 of the whole archive, its name in the lake's code/.")
    closure: str = Field(description="SHA-256 of the import closure of the step's function or job.")


class StepRequest(Frozen):
    """All that a step needs to know. Holds connection ids, never a secret.

    `config`, `pins`, `inputs`, `window`, `code.closure`, `environment` and `refresh` decide the
    result and so make its name; `run_id`, `lake`, `settings` and `connections` do not.
    """

    version: Literal[1] = 1
    step: str = Field(description="The step kind: a module of tradewind_runtime.steps.")
    id: str = Field(description="The step's id in the plan: its task id.")
    pipeline: str
    run_id: str
    lake: str = Field(description="URI of the lake: file:///… or s3://…")
    engine: str = "python"
    config: dict[str, Any] = Field(default_factory=dict)
    pins: dict[str, Any] = Field(default_factory=dict, description="Only those that the step uses.")
    inputs: dict[str, Output] = Field(default_factory=dict)
    window: Window | None = None
    code: CodeRef | None = None
    environment: str | None = Field(None, description="Digest of what is installed, if it computes.")
    refresh: str | None = Field(None, description="A run's id, to do anew what has a result.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="The profile's: how, never what (Spark master, threads)."
    )
    connections: dict[str, str] = Field(
        default_factory=dict, description="Use → connection id, such as lake → aws_lake."
    )

    def configured(self, kind: type[Config]) -> Config:
        """The configuration, as the step's own model.

        Raises:
            StepError: TW515 where it is none: what a run fills in for a word is seen only now.
        """
        try:
            return kind.model_validate(self.config)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise StepError(
                "TW515",
                f"the configuration of step {self.id!r} does not hold with what the run fills in: {first['msg']}",
                retryable=False,
                path=".".join(map(str, first["loc"])),
                got=str(first["input"])[:200],
                fix="start a run with other params; where the YAML has none there, bring the plan and the step's image "
                "or environment to one version of Tradewind",
            ) from None

    @property
    def fingerprint(self) -> str:
        """The name of this request's result."""
        body = self.model_dump(
            mode="json",
            include={
                "version",
                "step",
                "pipeline",
                "engine",
                "config",
                "pins",
                "inputs",
                "window",
                "environment",
                "refresh",
            },
        )
        return digest(body, self.code.closure if self.code else None)

    @property
    def result_path(self) -> str:
        """Where the result lies, below the lake."""
        return f"results/{self.step}/{self.fingerprint}.json"


class Verdict(Frozen):
    """A decision that is not a failure: a gate that says no is a success with a verdict."""

    passed: bool
    reasons: tuple[str, ...] = ()


class StepOutcome(Frozen):
    """What a step's `run` returns; the executor makes a StepResult of it."""

    outputs: dict[str, Output] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(
        default_factory=dict, description="Small JSON for people and audits: positions, counts."
    )
    verdict: Verdict | None = None
    links: dict[str, str] = Field(default_factory=dict, description="Title → lake path or URL.")


class StepResult(StepOutcome):
    """The proof that a step was done. Created once, by conditional put."""

    version: Literal[1] = 1
    fingerprint: str
    step: str
    id: str
    pipeline: str
    run_id: str = Field(description="The run that did it; later runs adopt it.")
    started: AwareDatetime
    finished: AwareDatetime

"""The plan: what will be done, as data that prints as JSON and travels inside a DAG's stub."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field

from tradewind_runtime.contract.base import Frozen, digest

Flow = Literal["train", "rollout", "monitor", "score", "maintenance"]


class Arrival(Frozen):
    """A topic whose unread messages start runs, or a store whose unread objects do."""

    source: str
    kafka: dict[str, Any] | None = None
    objects: dict[str, Any] | None = None
    enough: int = Field(
        validation_alias=AliasChoices("enough", "messages"),  # as plans of former versions have it
        description="So many of them start one.",
    )
    wait: float = Field(description="Seconds.")
    poll: float = Field(description="Seconds.")
    project: str | None = Field(None, description="The folder that objects with no scheme are below.")
    waits: bool = Field(False, description="Whether a run waits for objects before it pins.")


class Schedule(Frozen):
    """When a DAG runs by itself: by data intervals, by assets, by what arrives, or by assets besides."""

    cron: str | None = None
    timezone: str = "UTC"
    start: str | None = Field(None, description="First day, at whose midnight in the zone it begins.")
    end: str | None = Field(None, description="Day at whose midnight it is over.")
    catchup: bool = False
    after: tuple[str, ...] = Field((), description="Assets, all of which must have been updated.")
    assets: tuple[str, ...] = Field((), description="Assets, each of which wakes it.")
    arrival: Arrival | None = None


class PlanStep(Frozen):
    """One task: a step of the runtime, or one of the control plane's own kinds."""

    id: str = Field(description="The task id.")
    kind: str
    engine: str = "python"
    runner: str = "process"
    environment: str = "steps"
    config: dict[str, Any] = Field(default_factory=dict)
    upstream: tuple[str, ...] = ()
    inputs: dict[str, str] = Field(default_factory=dict, description="Input → STEP.OUTPUT, or table:NAME of the pins.")
    pins: dict[str, str] = Field(default_factory=dict, description="Name → path in the run's pins.")
    connections: dict[str, str] = Field(default_factory=dict, description="Use → connection id.")
    settings: dict[str, Any] = Field(default_factory=dict)
    closure: str | None = Field(None, description="Digest of the user code that the step runs.")
    computes: bool = Field(False, description="Its environment decides the result.")
    windowed: bool = Field(False, description="Its window decides the result.")
    every_run: bool = Field(False, description="Done once in each run, never adopted from another.")
    heavy: bool = False
    when: str | None = Field(None, description="A step whose verdict must have passed, else this is skipped.")
    resources: dict[str, Any] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(
        default_factory=dict, description="Variable → SECRET/KEY, of the profile's own: in a pod alone."
    )
    outlets: tuple[str, ...] = Field((), description="Assets that it updates.")
    retries: int = 2
    retry_delay: float = Field(30, description="Seconds.")
    timeout: float | None = Field(7200, description="Seconds.")


class PlanDag(Frozen):
    """One DAG."""

    dag_id: str
    flow: Flow
    description: str = ""
    schedule: Schedule = Schedule()
    params: dict[str, Any] = Field(default_factory=dict, description="Name → JSON Schema with its default.")
    steps: tuple[PlanStep, ...]

    def step(self, id: str) -> PlanStep:
        """The step of an id."""
        return next(step for step in self.steps if step.id == id)

    @property
    def refreshable(self) -> tuple[str, ...]:
        """Steps that a run may be asked to do anew; the others each run does anyway."""
        return tuple(step.id for step in self.steps if not step.every_run)


class Plan(Frozen):
    """All that a pipeline becomes."""

    version: Literal[1] = 1
    pipeline: str
    profile: str
    file: str
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    lake: str
    lake_connection: str | None = None
    pool: str
    environments: dict[str, dict[str, Any]] = Field(default_factory=dict)
    kubernetes: dict[str, Any] = Field(default_factory=dict)
    code_archive: str | None = Field(None, description="Digest of the version's user code.")
    alerts: dict[str, Any] = Field(default_factory=dict)
    model: str | None = None
    dags: tuple[PlanDag, ...]

    def dag(self, flow: Flow) -> PlanDag:
        """The DAG of a flow."""
        return next(dag for dag in self.dags if dag.flow == flow)

    @property
    def digest(self) -> str:
        """Names this plan: the same text, profile and code give the same."""
        return digest(self.model_dump(mode="json"))


def table_asset(pipeline: str, name: str) -> str:
    """The asset that stands for a table."""
    return f"tradewind://table/{pipeline}/{name}"


def model_asset(name: str) -> str:
    """The asset that stands for a model: an event says that there is a new challenger."""
    return f"tradewind://model/{name}"


def arrival_asset(pipeline: str, source: str) -> str:
    """The asset that stands for what waits in a topic or a store."""
    return f"tradewind://arrival/{pipeline}/{source}"


def retraining_asset(pipeline: str) -> str:
    """The asset that wakes a pipeline to take its open retrain requests."""
    return f"tradewind://retraining/{pipeline}"

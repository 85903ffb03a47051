"""One step of a plan: what a flow says of it, completed from the pipeline's defaults and the profile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tradewind.plan.code import UserCode
from tradewind.plan.kinds import KINDS
from tradewind.plan.model import PlanStep
from tradewind.profile import Profile
from tradewind.spec import Pipeline
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.resources import Resources


@dataclass(frozen=True)
class StepBuilder:
    """What the steps of a pipeline are made from."""

    pipeline: Pipeline
    profile: Profile
    code: UserCode
    text: str
    commit: str

    def step(
        self,
        kind: str,
        config: Frozen | dict[str, Any],
        *,
        id: str = "",
        connections: dict[str, str] | None = None,
        entry: str | None = None,
        resources: Resources | None = None,
        **rest: Any,
    ) -> PlanStep:
        """A step of a kind.

        Args:
            kind: what is done.
            config: the kind's own configuration.
            id: of the task, where the kind is not its name.
            connections: those that it needs besides the lake's.
            entry: the file of user code that it runs.
            resources: in place of the defaults of its kind.
            rest: further fields of `PlanStep`.
        """
        body = config if isinstance(config, dict) else config.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert rest.get("engine", "python") in KINDS[kind].engines, f"a {kind} does not work on that engine"
        defaults = self.pipeline.defaults.of(kind)
        lake = {"lake": self.profile.lake.connection} if self.profile.lake.connection else {}
        # Where the registry's connection is not given, as in `tradewind run` without the stack, this is it.
        settings = self.profile.settings | {"mlflow_uri": self.profile.registry.uri}
        asked = resources or defaults.resources
        if asked and asked.gpu.count:
            settings["gpus"] = asked.gpu.count
        return PlanStep(
            id=id or kind,
            kind=kind,
            config=body,
            connections=lake | (connections or {}),
            closure=self.code.closure(entry) if entry else None,
            runner=self.profile.runner_of(kind),
            environment=defaults.environment or "steps",
            heavy=kind in self.profile.heavy,
            settings=settings,
            retries=defaults.retries,
            retry_delay=defaults.retry_delay.total_seconds(),
            timeout=defaults.timeout.total_seconds() if defaults.timeout else None,
            resources=asked.model_dump(mode="json", by_alias=True, exclude_unset=True) if asked else {},
            **rest,
        )

    def notify(self, event: str, *, after: str, when: str, inputs: dict[str, str]) -> Iterator[PlanStep]:
        """The step that tells people of an event, where the YAML asks for it."""
        slack = self.pipeline.alerts.slack
        if slack is not None and event in slack.on:
            yield self.step(
                "notify",
                {"channel": slack.channel, "event": event},
                id=f"tell_{event}",
                upstream=(after,),
                when=when,
                inputs=inputs,
                connections={"slack": slack.connection},
                every_run=True,
            )

    @property
    def registry(self) -> dict[str, str]:
        """The connection of a step that asks the registry."""
        connection = self.profile.registry.connection
        return {"registry": connection} if connection and self.pipeline.promote else {}

    def spark_of(self, engine: str | None) -> dict[str, str]:
        """The connection of a step that computes on a cluster of Spark's: its password is the cluster's secret."""
        connection = (self.profile.settings.get("spark") or {}).get("connection") if engine == "spark" else None
        return {"spark": str(connection)} if connection else {}

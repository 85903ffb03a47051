"""The server of an endpoint's own: made or brought up to date before the first stage of a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from tradewind.operators.lease import LeasedOperator
from tradewind.operators.step import documents_of
from tradewind.servers import OwnServer, Wanted
from tradewind_runtime import endpoints
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.launchers.pod import PodSettings

if TYPE_CHECKING:
    from airflow.sdk import Context


class ServeOperator(LeasedOperator):
    """Applies the server's objects, and waits in deferral until it is there."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Under the rollout's lease."""
        with self.explained(context):
            return self.leased(context, self._begin)

    def came(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """What the trigger saw."""
        wanted = self._wanted
        with self.explained(context):
            if event["why"]:
                raise StepError(
                    "TW600", f"the server of {wanted.endpoint!r} does not come up: {event['why']}",
                    fix=f"kubectl describe pods --namespace {wanted.settings.namespace} --selector {wanted.selector}",
                )  # fmt: skip
        self.log.info("the server %s has %d replicas", wanted.name, event["up"])
        return {"server": wanted.name, "replicas": event["up"]}

    def _begin(self, context: Context) -> dict[str, Any]:
        self.skip_unless_wanted(self.run_of(context))
        from tradewind.servers.apply import apply

        wanted = self._wanted
        for made in apply(wanted):
            self.log.info("applied %s", made)
        self._wait(wanted)

    def _wait(self, wanted: Wanted) -> NoReturn:
        from tradewind.servers.watch import ServerWatch

        served = endpoints.latest(documents_of(self.plan), wanted.endpoint) is not None
        self.defer(
            trigger=ServerWatch(
                connection=wanted.settings.connection,
                namespace=wanted.settings.namespace,
                kind=wanted.own.kind,
                name=wanted.name,
                selector=wanted.selector,
                replicas=wanted.own.replicas.min,
                ready=served,
                patience=wanted.own.patience,
            ),
            method_name="came",
        )

    @property
    def _wanted(self) -> Wanted:
        return Wanted(
            endpoint=str(self.step.config["endpoint"]),
            pipeline=self.plan.pipeline,
            lake=self.plan.lake,
            connection=self.plan.lake_connection,
            own=OwnServer.model_validate(self.step.config["own"]),
            settings=PodSettings.model_validate(self.plan.kubernetes),
        )

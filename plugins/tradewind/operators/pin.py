"""The first task of a run: wait for the lease, decide the window, wait for objects, pin what the run stands on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from tradewind.operators.connections import connection_text
from tradewind.operators.lease import LeasedOperator, release_lease, state_of
from tradewind.operators.objects import ObjectsTrigger
from tradewind.plan.model import arrival_asset
from tradewind.plan.request import Run, check_refresh
from tradewind_runtime import retraining
from tradewind_runtime.contract.errors import Problem, TradewindError
from tradewind_runtime.contract.pins import Ends
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.sources.listing import Waiting, waits

if TYPE_CHECKING:
    from airflow.sdk import Context


class PinOperator(LeasedOperator):
    """Pins a run's inputs, once."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Take the lease and pin; what cannot go well is refused before."""
        with self.explained(context):
            check_refresh(self.plan.dag(self.flow), self.run_of(context).refresh)
            if any(step.runner == "kubernetes" for step in self.plan.dag(self.flow).steps):
                self._preflight()
        return super().execute(context)

    def _preflight(self) -> None:
        """A Secret that is missing is found now, not after an hour of ingestion."""
        from tradewind.operators.preflight import preflight

        preflight(self.plan, self.flow, self.log)

    def do(self, run: Run, context: Context) -> StepResult:
        """Decide the window, then ask every source for its end."""
        pinned = run.pins()
        if pinned is None:
            self._wait(run, context)
        requests = self._requests(retraining.take, run, context) if pinned is None else []
        window = pinned.window if pinned else self._window(run, context, requests)
        config = {"requests": [request.key for request in requests], "backfill": run_type(context) == "backfill"}
        if pinned:
            config = {"requests": list(pinned.requests), "backfill": pinned.backfill}
        self.log.info("window: %s to %s", window.start.isoformat(), window.end.isoformat())
        return self.launch(run, self.request(run, window=window, config=config if self.flow == "train" else None))

    def _wait(self, run: Run, context: Context) -> None:
        """Until what is waited for is there, in deferral; other runs may have lease and requests meanwhile."""
        if self.flow != "train" or run_type(context) == "backfill" or not waits(self.step.config):
            return
        now = datetime.now(UTC)
        window = self._window(run, context, self._requests(retraining.due, run, context))
        request = self.request(run, window=window, config={"requests": [], "backfill": False})
        waiting = Waiting.of(request, now)
        ways = waiting.ways(request, {id: connection_text(id) for id in waiting.connections})
        if missing := waiting.missing(ways, now):
            self.log.info("nothing is there yet; waiting for %s", ", ".join(one.uri for one in missing.values()))
            release_lease(self.plan, self.flow, run.documents, context)
            trigger = ObjectsTrigger(
                {name: objects.model_dump(mode="json") for name, objects in missing.items()},
                since=now.isoformat(),
                window=request.window.model_dump(mode="json") if request.window else None,
                project=request.settings.get("project"),
            )
            self.defer(trigger=trigger, method_name="came")

    def came(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on; or fail for good, where nothing has come in time."""
        if (said := event.get("problem")) is not None:
            problem = Problem.model_validate(said)
            self.run_of(context).leave_reason(self.step.id, problem)
            with self.explained(context):
                raise TradewindError(problem)
        return self.resume(context)

    def _requests(
        self, asked: Callable[..., list[retraining.RetrainRequest]], run: Run, context: Context
    ) -> list[retraining.RetrainRequest]:
        if self.flow != "train" or run_type(context) == "backfill" or _params_window(context) is not None:
            return []
        dag_id = str(context["dag"].dag_id)
        return asked(
            run.documents,
            self.plan.pipeline,
            run.run_id,
            failed=lambda other: state_of(context, dag_id, other) == "failed",
        )

    def _window(self, run: Run, context: Context, requests: list[retraining.RetrainRequest]) -> Window:
        """From the run's parameters, else from what it takes, else from its interval."""
        if (given := _params_window(context)) is not None:
            return given
        if (asked := retraining.union(request.window for request in requests)) is not None:
            return asked
        if run_type(context) == "asset_triggered":
            if (updated := self._updated(context) or self._arrived(run, context)) is not None:
                return updated
            if self._windowed:
                raise AirflowSkipException("nothing is asked for: an earlier run took the requests")
        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        if start is not None and end is not None and start < end:
            return Window(start=start, end=end)
        if not self._windowed:
            now = datetime.now(UTC)  # no step asks for it
            return Window(start=now - timedelta(days=1), end=now)
        raise AirflowFailException(
            "TW220: this run has no window: give window_start and window_end when triggering, or a schedule in the YAML"
        )

    @property
    def _windowed(self) -> bool:
        """Whether any step asks what the run is about."""
        return any(step.windowed for step in self.plan.dag(self.flow).steps if step.kind != "pin")

    def _updated(self, context: Context) -> Window | None:
        """The windows of the runs that have updated the tables which this DAG comes after, as one."""
        extras = [event.extra for event in _events(context, self.plan.dag(self.flow).schedule.after)]
        return retraining.union(Window.model_validate(extra["window"]) for extra in extras if "window" in extra)

    def _arrived(self, run: Run, context: Context) -> Window | None:
        """From the last run's end to now; None where what arrived started nothing.

        A run that waited for its lease while another one pinned all that it was asked for has nothing to do.
        """
        arrival = self.plan.dag(self.flow).schedule.arrival
        if arrival is None:
            return None
        events = _events(context, [arrival_asset(self.plan.pipeline, arrival.source)])
        if not events:
            return None
        ends = run.documents.get_model(Ends.path(self.plan.pipeline), Ends)
        if ends is not None and ends.created > max(event.timestamp for event in events):
            raise AirflowSkipException(f"what has arrived is read by the run {ends.run_id}")
        now = datetime.now(UTC)
        known = [ends.until] if ends else []
        return Window(start=min(*map(_since, events), *known, now - timedelta(seconds=1)), end=now)


def _events(context: Context, uris: Collection[str]) -> list[Any]:
    """Of these assets, those that have started the run."""
    found = context.get("triggering_asset_events") or {}
    return [event for asset, events in found.items() if asset.uri in uris for event in events]


def _since(event: Any) -> datetime:
    """When what has arrived first waited, as far as is told: an event that a person made tells only its own time."""
    told = event.extra["payload"]["since"] if event.extra.get("from_trigger") else None
    return datetime.fromisoformat(told) if told else event.timestamp


def _params_window(context: Context) -> Window | None:
    params = context["params"]
    start, end = params.get("window_start"), params.get("window_end")
    if not start and not end:
        return None
    if not (start and end):
        raise AirflowFailException("TW221: window_start and window_end go together")
    first, last = _utc(start), _utc(end)
    if first >= last:
        raise AirflowFailException(
            f"TW225: window_start {first.isoformat()} is not before window_end {last.isoformat()}"
        )
    return Window(start=first, end=last)


def _utc(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def run_type(context: Context) -> str:
    """How the run was started: manual, scheduled, asset_triggered or backfill."""
    return str(getattr(context["dag_run"].run_type, "value", context["dag_run"].run_type))

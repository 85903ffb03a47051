"""What the demo does, in order: named windows of 2013, each produced after the run before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any

from tradewind.demo.airflow import ENDED, Airflow, DemoError
from tradewind.demo.say import Say
from tradewind.demo.traffic import Traffic
from tradewind_runtime.contract.refs import Window

PIPELINE = "flight-delays"
ROLLOUT = f"{PIPELINE}__rollout"
MONITOR = f"{PIPELINE}__monitor"


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Chapter:
    """One window: what arrives for it, and what is asked of the model in it."""

    name: str
    since: str  # flights of [since, end) arrive
    start: str  # the window is [start, end)
    end: str

    @property
    def window(self) -> Window:
        """What its runs are about."""
        return Window(start=_day(self.start), end=_day(self.end))

    @property
    def arrival(self) -> tuple[datetime, datetime]:
        """When the flights leave that arrive for it: from the first to before the second."""
        return _day(self.since), _day(self.end)

    @property
    def conf(self) -> dict[str, Any]:
        """As a person would type it into the trigger form."""
        return {"window_start": f"{self.start}T00:00:00+00:00", "window_end": f"{self.end}T00:00:00+00:00"}


WINTER = Chapter("winter", "2013-01-01", "2013-01-01", "2013-04-01")
SPRING = Chapter("spring", "2013-04-01", "2013-04-01", "2013-04-08")
JUNE = Chapter("june", "2013-04-08", "2013-06-17", "2013-06-24")
SUMMER = Chapter("summer", "2013-06-24", "2013-06-24", "2013-07-01")
CHAPTERS = (WINTER, SPRING, JUNE, SUMMER)


@dataclass
class Story:
    """Drives the pipeline through a real scheduler, as a team and its users would over half a year."""

    airflow: Airflow
    traffic: Traffic
    say: Say
    arrive: Callable[[Chapter], dict[str, Any]]
    runs: list[dict[str, Any]] = field(default_factory=list)

    def tell(self) -> None:
        """All chapters.

        Raises:
            DemoError: where a run fails.
        """
        for dag_id in (PIPELINE, ROLLOUT, MONITOR):
            self.airflow.unpause(dag_id)
        for chapter in CHAPTERS:
            self._chapter(chapter)

    def _chapter(self, chapter: Chapter) -> None:
        self.say.heading(f"{chapter.name}: {chapter.start} to {chapter.end}")
        self.say.fact("arrived", self.arrive(chapter))
        with self._rolled_out():
            self._run(PIPELINE, f"demo-{chapter.name}", chapter.conf)
        self._settle(ROLLOUT)  # one that an interrupted demo has left
        if chapter is WINTER:
            return
        run_id = f"demo-{chapter.name}"
        if self._succeeded(MONITOR, run_id):
            self.say.line(f"{chapter.name} was served and watched by an earlier demo")
            self._settle(PIPELINE)
            return
        self.say.fact("served", self.traffic.send(chapter.window, self.say.progress))
        before = self._ids(PIPELINE)
        self._run(MONITOR, run_id, chapter.conf)
        if "request_retraining" in self._done(MONITOR, run_id):
            self.say.line("drift held: a retraining was asked for; waiting for Airflow to start it")
            with self._rolled_out(live=chapter.window):
                self._follow(PIPELINE, self.airflow.await_run(PIPELINE, before))
            return
        verdict = self.airflow.told(MONITOR, run_id, "drift").get("verdict") or {}
        self.say.line("; ".join(verdict.get("reasons", ())) or "no drift to act on")

    def _settle(self, dag_id: str) -> None:
        """See through what is still running."""
        for run in self.airflow.runs(dag_id):
            if run["state"] not in ENDED:
                self._follow(dag_id, run["dag_run_id"], may_fail=True)

    def _succeeded(self, dag_id: str, run_id: str) -> bool:
        run = self.airflow.run(dag_id, run_id)
        return run is not None and run["state"] == "success"

    @contextmanager
    def _rolled_out(self, live: Window | None = None) -> Iterator[None]:
        """If the block registered a version, see its rollout through, under live traffic where there is any."""
        before, runs = self._ids(ROLLOUT), len(self.runs)
        yield
        registered = any(run["dag_id"] == PIPELINE and "register" in run["done"] for run in self.runs[runs:])
        if not registered:
            return
        run_id = self.airflow.await_run(ROLLOUT, before)
        if live is None:
            self._follow(ROLLOUT, run_id)
            return
        stop = Event()
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(self.traffic.keep_sending, live, stop)
            try:
                self._follow(ROLLOUT, run_id, may_fail=True)
            finally:
                stop.set()
            self.say.fact("served meanwhile", sending.result())

    def _run(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Trigger a run and see it through, unless an earlier demo has; what it left failed is cleared."""
        if self._succeeded(dag_id, run_id):
            self.say.line(f"{dag_id} {run_id} was done by an earlier demo")
            return
        if not self.airflow.trigger(dag_id, run_id, conf):
            path = f"/dags/{dag_id}/dagRuns/{run_id}/clear"
            self.airflow.call("POST", path, json={"dry_run": False, "only_failed": True})
        self._follow(dag_id, run_id)

    def _follow(self, dag_id: str, run_id: str, *, may_fail: bool = False) -> None:
        self.say.line(f"{dag_id} {run_id}")
        state = self.airflow.follow(dag_id, run_id, lambda task: self._task(dag_id, run_id, task))
        self.runs.append({"dag_id": dag_id, "run_id": run_id, "state": state, "done": self._done(dag_id, run_id)})
        if state != "success" and not may_fail:
            msg = f"{dag_id} {run_id} failed: {', '.join(self._in_state(dag_id, run_id, 'failed'))}"
            raise DemoError(msg)

    def _task(self, dag_id: str, run_id: str, task: dict[str, Any]) -> None:
        told = self.airflow.told(dag_id, run_id, task["task_id"]) if task["state"] == "success" else {}
        self.say.task(task["task_id"], task["state"], task["duration"] or 0.0, told.get("metrics") or {})

    def _ids(self, dag_id: str) -> set[str]:
        return {run["dag_run_id"] for run in self.airflow.runs(dag_id)}

    def _done(self, dag_id: str, run_id: str) -> list[str]:
        return self._in_state(dag_id, run_id, "success")

    def _in_state(self, dag_id: str, run_id: str, state: str) -> list[str]:
        return [task["task_id"] for task in self.airflow.tasks(dag_id, run_id) if task["state"] == state]

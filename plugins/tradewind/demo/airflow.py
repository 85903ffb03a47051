"""Airflow's REST API, as far as the demo needs it: what a person does in the web UI."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

ENDED = frozenset({"success", "failed"})


class DemoError(Exception):
    """Something was not as the demo promises."""


class BusyError(DemoError):
    """Airflow could not, just now: two of its own requests can stand in each other's way on SQLite."""


@dataclass
class Airflow:
    """A client with a login of its own."""

    url: str
    user: str
    password: str = field(repr=False)
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self._login()

    def _login(self) -> None:
        answer = self._client.post("/auth/token", json={"username": self.user, "password": self.password})
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    @retry(
        retry=retry_if_exception_type((httpx.TransportError, BusyError)),
        stop=stop_after_delay(60),
        wait=wait_fixed(1),
        reraise=True,
    )
    def call(self, method: str, path: str, **options: Any) -> Any:
        """One request to the API.

        Raises:
            DemoError: with Airflow's own words, where it refuses.
        """
        answer = self._client.request(method, f"/api/v2{path}", **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._login()
            answer = self._client.request(method, f"/api/v2{path}", **options)
        if answer.is_error:
            kind = BusyError if answer.is_server_error else DemoError
            msg = f"Airflow answers {answer.status_code} to {method} {path}: {answer.text[:500]}"
            raise kind(msg)
        return answer.json() if answer.content else None

    def dag_ids(self) -> set[str]:
        """DAGs that Airflow knows."""
        return {dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 100})["dags"]}

    def import_errors(self) -> list[dict[str, Any]]:
        """Files that did not become DAGs."""
        return list(self.call("GET", "/importErrors")["import_errors"])

    def unpause(self, dag_id: str) -> None:
        """Let it run by its schedule and its assets."""
        self.call("PATCH", f"/dags/{dag_id}", params={"update_mask": "is_paused"}, json={"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any], *, at: str | None = None) -> bool:
        """Start a run of that id, with a logical date or none; False where there is one already."""
        if self.run(dag_id, run_id) is not None:
            return False
        body = {"dag_run_id": run_id, "logical_date": at, "conf": conf}
        try:
            self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)
        except DemoError:
            if self.run(dag_id, run_id) is None:  # else it was made by a call whose answer was lost
                raise
        return True

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """A run, or None."""
        return next((run for run in self.runs(dag_id) if run["dag_run_id"] == run_id), None)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All its runs, the oldest first."""
        found = self.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100, "order_by": "run_after"})["dag_runs"]
        return list(found)

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run, in the order in which they started."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self.call("GET", path, params={"limit": 100})["task_instances"]
        return sorted(found, key=lambda task: task["start_date"] or "9999")

    def told(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """What a task returned: its metrics, facts and verdict."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        try:
            value = self.call("GET", path, params={"deserialize": "false"})["value"]
        except DemoError:
            return {}
        if isinstance(value, str):
            import json

            value = json.loads(value)
        return dict(value or {})

    def follow(
        self, dag_id: str, run_id: str, on_task: Callable[[dict[str, Any]], None], *, timeout: float = 900
    ) -> str:
        """Wait for a run's end, telling of each task that ends.

        Returns:
            `success` or `failed`.
        """
        seen: set[tuple[str, int]] = set()
        for _ in ticks(timeout):
            run = self.run(dag_id, run_id)
            for task in self.tasks(dag_id, run_id):
                key = (task["task_id"], task["try_number"])
                if task["state"] in {"success", "failed", "skipped", "upstream_failed"} and key not in seen:
                    seen.add(key)
                    on_task(task)
            if run is not None and run["state"] in ENDED:
                return str(run["state"])
        msg = f"{dag_id} {run_id} did not end within {timeout:.0f} s"
        raise DemoError(msg)

    def await_run(self, dag_id: str, known: set[str], *, timeout: float = 120) -> str:
        """The id of a run that somebody else started: by an asset, or by its schedule."""
        for _ in ticks(timeout):
            for run in self.runs(dag_id):
                if run["dag_run_id"] not in known:
                    return str(run["dag_run_id"])
        msg = f"no run of {dag_id} was started within {timeout:.0f} s"
        raise DemoError(msg)


def ticks(timeout: float, every: float = 0.5) -> Iterator[float]:
    """Seconds gone by, until the time is over."""
    began = time.monotonic()
    while (gone := time.monotonic() - began) < timeout:
        yield gone
        time.sleep(every)

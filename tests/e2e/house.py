"""A project in a folder of its own, and a real Airflow with a model server that reads it: one start for all tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.servers.model_server import PYTHON as SERVING

from tradewind.demo.airflow import ENDED, Airflow, DemoError, ticks
from tradewind.dev import ports
from tradewind.dev.credentials import credentials
from tradewind.dev.servers.airflow import USER
from tradewind.dev.stack import recorded_ports
from tradewind.dev.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "dags/pipelines/breast_cancer.yaml").read_text()
PROFILE = """\
profile: local
environments: {{steps: {{python: {python}}}, serving: {{python: {serving}}}}}
settings: {{threads: 1}}
registry: {{connection: mlflow_default}}
stack: [airflow, mlflow, serving, slack]
ports: {ports}
"""
PATIENCE = 240  # seconds; a commit takes some 5 on an idle machine, and two workers share this one


@dataclass
class House:
    """A project in a folder with a space, and the Airflow that reads it."""

    folder: Path
    airflow: Airflow
    token: str

    def write(self, name: str, text: str) -> Path:
        """What a commit does."""
        path = self.folder / "dags/pipelines" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def until(self, true: Callable[[], object], what: str) -> float:
        """Seconds until it is so."""
        for gone in ticks(PATIENCE):
            if true():
                return gone
        raise AssertionError(f"not within {PATIENCE} s: {what}")

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        try:
            found = self.airflow.call("GET", f"/dags/{dag_id}")
        except DemoError:
            return None
        return None if found["is_stale"] else found

    def pause(self, dag_id: str) -> None:
        """Start no run of it by its schedule or its assets."""
        self.airflow.call("PATCH", f"/dags/{dag_id}", params={"update_mask": "is_paused"}, json={"is_paused": True})

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> None:
        """As the form does: with a logical date."""
        assert self.airflow.trigger(dag_id, run_id, conf, at=_now())

    def run(self, dag_id: str, run_id: str, **conf: Any) -> tuple[str, dict[str, str]]:
        """Trigger a run; its end, and its tasks' states."""
        self.trigger(dag_id, run_id, **conf)
        return self.end(dag_id, run_id)

    def end(self, dag_id: str, run_id: str) -> tuple[str, dict[str, str]]:
        """A run's end, and its tasks' states."""
        state = self.airflow.follow(dag_id, run_id, lambda _: None, timeout=300)
        return state, {task["task_id"]: task["state"] for task in self.airflow.tasks(dag_id, run_id)}

    def state(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """A task's, now."""
        return {task["task_id"]: task["state"] for task in self.airflow.tasks(dag_id, run_id)}.get(task_id)

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """What the UI shows of a task's attempt so far."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        return str(self.airflow.call("GET", path, params={"full_content": "true"}))

    def waits(self, dag_id: str, run_id: str, task_id: str) -> bool:
        """Whether a task waits for a person, and the scheduler has heard so.

        An answer that comes before makes the scheduler take the task for lost, which on a busy machine happens to
        whoever answers at once, and to each of the task's attempts.
        """
        task = {task["task_id"]: task for task in self.airflow.tasks(dag_id, run_id)}.get(task_id, {})
        if task.get("state") not in {"awaiting_input", "deferred"}:
            return False
        heard = f"TaskInstance Finished: dag_id={dag_id}, task_id={task_id}, run_id={run_id}, "
        lines = (self.folder / ".tradewind/log/scheduler.log").read_text(errors="replace").splitlines()
        return any(heard in line and f" try_number={task['try_number']}, " in line for line in lines)

    def answer(self, dag_id: str, run_id: str, task_id: str, choice: str) -> None:
        """What a person does who clicks on a choice."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"

        def answered() -> bool:
            if self.waits(dag_id, run_id, task_id):
                with suppress(DemoError):  # it has been, and the task is about to go on
                    self.airflow.call("PATCH", path, json={"chosen_options": [choice], "params_input": {}})
            state = self.state(dag_id, run_id, task_id)
            assert state != "failed", self.log(dag_id, run_id, task_id)
            return state == "success"

        self.until(answered, f"the end of {task_id}")

    def backfill(self, dag_id: str, first: date, last: date, *, backwards: bool) -> None:
        """Do the windows of these days, also those that are done; to the end."""
        body = {
            "dag_id": dag_id, "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z",
            "run_backwards": backwards, "reprocess_behavior": "completed", "max_active_runs": 2,
        }  # fmt: skip
        for _ in ticks(PATIENCE):
            try:
                self.airflow.call("POST", "/backfills", json=body)
                break
            except DemoError:  # on SQLite the scheduler can get in between: half of the runs are made, then error 503
                self._cancel_backfills(dag_id)
        else:
            raise AssertionError(f"no backfill within {PATIENCE} s")
        self.until(lambda: self._ended(dag_id), "the end of the backfill's runs")
        self._cancel_backfills(dag_id)  # all is done: Airflow would note that up to half a minute later
        ended = [run for run in self.airflow.runs(dag_id) if run["run_type"] == "backfill"]
        assert {run["state"] for run in ended} == {"success"}, ended

    def _cancel_backfills(self, dag_id: str) -> None:
        """Those that are not done; until none of their runs is left."""
        found = self.airflow.call("GET", "/backfills", params={"dag_id": dag_id})["backfills"]
        for backfill in found:
            if not backfill["completed_at"]:
                with suppress(DemoError):  # it has ended meanwhile
                    self.airflow.call("PUT", f"/backfills/{backfill['id']}/cancel")
        self.until(lambda: self._ended(dag_id), "the end of cancelled runs")

    def _ended(self, dag_id: str) -> bool:
        """Whether no run of it is under way."""
        return all(run["state"] in ENDED for run in self.airflow.runs(dag_id))

    def kill(self, part: str) -> None:
        """A part of the stack, by SIGKILL; its supervisor starts it again."""
        self.process(part).kill()

    def process(self, part: str) -> psutil.Process:
        """Of a part of the stack, as it is now."""
        return psutil.Process(int((self.folder / ".tradewind/run/parts" / f"{part}.pid").read_text()))

    def messages(self) -> list[dict[str, Any]]:
        """What came to the Slack receiver."""
        kept = self.folder / ".tradewind/slack/messages.jsonl"
        return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []

    @property
    def serving(self) -> str:
        """The model server's address."""
        return f"http://127.0.0.1:{recorded_ports(self.folder / '.tradewind')['serving']}"

    def page(self, path: str, *, login: bool = True) -> httpx.Response:
        """A page of Tradewind's own."""
        headers = {"Authorization": f"Bearer {self.token}"} if login else {}
        return httpx.get(f"{self.airflow.url}{path}", headers=headers, trust_env=False, timeout=60)

    def shown(self, docs: str) -> httpx.Response:
        """The page of data docs that their first page leads to."""
        return self.page(docs.rpartition("/")[0] + "/" + self.page(docs).text.split('href="')[1].split('"')[0])

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str]:
        found = self.airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links")
        return {title: link for title, link in found["extra_links"].items() if link}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime()) + f"{time.time_ns() % 10**9 // 1000:06d}Z"


def dev(folder: Path, *words: str, profile: str = "local") -> None:
    """`tradewind dev …` in a project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRADEWIND", "AIRFLOW"))}
    own = {"TRADEWIND_PROJECT": str(folder), "TRADEWIND_PROFILE": profile}
    command = [sys.executable, "-m", "tradewind.cli", "dev", *words]
    done = subprocess.run(command, env=kept | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def opened(folder: Path) -> Iterator[House]:
    """Bring it up, and down again without leaving a process."""
    shutil.copytree(ROOT / "include/models", folder / "include/models")
    (folder / "dags/pipelines").mkdir(parents=True)
    (folder / "profiles").mkdir()
    free = ports.choose(dict.fromkeys(("airflow", "mlflow", "serving", "slack")))  # others may be taking the usual ones
    profile = PROFILE.format(python=sys.executable, serving=SERVING, ports=json.dumps(free))
    (folder / "profiles/local.yaml").write_text(profile)
    home = folder / ".tradewind"
    try:
        dev(folder, "up")
        url, password = (
            f"http://127.0.0.1:{recorded_ports(home)['airflow']}",
            credentials(home / "run").airflow_password,
        )
        said = httpx.post(f"{url}/auth/token", json={"username": USER, "password": password}, trust_env=False)
        yield House(folder, Airflow(url, USER, password), said.json()["access_token"])
        assert Supervisor(home).states().get("scheduler") == "RUNNING"
        dev(folder, "down")
        assert not [process for process in psutil.process_iter(["cmdline"]) if mentions(process, str(folder))]
    finally:
        Supervisor(home).kill()


def mentions(process: psutil.Process, text: str) -> bool:
    """Whether a process was started with this text among its arguments."""
    return any(text in word for word in process.info["cmdline"] or ())


def named(pipeline: str) -> str:
    """The example, as another pipeline."""
    return EXAMPLE.replace("breast-cancer", pipeline)

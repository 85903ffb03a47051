"""What a step in a pod costs beside a bare pod of the same image, resources and imports, in turns.

A step is measured from the operator's start to the result that it knows, with the real operator, trigger and lake; a
bare pod from `kubectl run` to a watch that sees it succeed. No scheduler of Airflow stands between.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pyarrow as pa
from airflow.sdk.exceptions import TaskDeferred

from bench.pods import seen
from bench.pods.figures import shares, spread
from bench.pods.place import CLUSTER, NAMESPACE, SECRET, STORE, Place
from bench.pods.seen import Seen
from tradewind.operators.kubernetes import PodStepOperator
from tradewind.plan.code import UserCode
from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.pods.client import client_of
from tradewind_runtime.contract.pins import Pins
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.launchers.pod import PodSettings

PIPELINE, TABLE = "bench", "bench/rows"
#: Of this process in a pod, by the clock that all share on this machine.
BEGAN = """
def began():
    import time
    ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
    return time.time() - float(open("/proc/uptime").read().split()[0]) + ticks / 100
"""
FUNCTION = (
    BEGAN
    + """
def double(tables, context):
    import json, sys
    print("TIMES", json.dumps({"container": began()}), flush=True)
    names = [name for name in sys.modules if name not in ("__main__", __name__)]
    for start in range(0, len(names), 200):  # a container's log cuts a line of more than 16 KiB
        print("MODULES", json.dumps(names[start : start + 200]), flush=True)
    table = tables["rows"]
    return table.append_column("y", table["x"])
"""
)
BARE = (
    BEGAN
    + """
import importlib, json, sys, time
up = time.time()
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        pass
print("TIMES", json.dumps({"container": began(), "python": up, "imported": time.time()}), flush=True)
"""
)
STEP_ORDER = ("asked", "requested", "created", "node", "container", "begun", "finished", "ended", "noticed", "known")
BARE_ORDER = ("asked", "created", "node", "container", "imported", "ended", "known")


@dataclass
class Lines:
    """Takes the place of the trigger's logger: what pods have printed about themselves."""

    found: dict[str, Any] = field(default_factory=dict)

    def info(self, message: str, *values: object) -> None:
        """Keep what is ours."""
        found = told(message % values)
        self.found |= found | {"MODULES": [*self.found.get("MODULES", ()), *found.get("MODULES", ())]}

    debug = warning = error = exception = info


def told(text: str) -> dict[str, Any]:
    """What a pod of the benchmark says of itself in its log."""
    return {word: json.loads(body) for word, body in re.findall(r"^(TIMES|MODULES) (.*)$", text, re.MULTILINE)}


class Timed(PodStepOperator):
    """The operator, which notes when it gets where."""

    moments: dict[str, float]

    def get_or_create_pod(self, pod_request_obj: Any, context: Any) -> Any:
        """The request is in the lake by now."""
        self.moments["requested"] = time.time()
        made = super().get_or_create_pod(pod_request_obj, context)
        self.moments["created"] = time.time()
        return made

    def defer(self, **rest: Any) -> NoReturn:
        """The worker is free."""
        self.moments["deferred"] = time.time()
        super().defer(**rest)

    def _finish(self, run: Any, request: Any, done: StepResult, context: Any) -> None:
        self.moments["known"] = time.time()
        self.moments |= {"begun": done.started.timestamp(), "finished": done.finished.timestamp()}
        super()._finish(run, request, done, context)


@dataclass
class Bench:
    """One table, one step, and as many runs of it as are asked for."""

    place: Place
    cpu: float
    seen: Seen
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lake = self.place.lake
        rows = pa.table({"x": list(range(1000))})
        table = lake.table(TABLE)
        self._version = table.commit(table.stage(rows.to_batches(), rows.schema), schema=rows.schema)
        code = UserCode({"include/models/bench_user.py": FUNCTION.encode()})
        lake.documents.create(f"code/{code.digest}.tar.gz", code.archive)
        step = PlanStep(
            id="transform", kind="transform", runner="kubernetes", inputs={"rows": f"table:{TABLE}"}, every_run=True,
            config={"transform": {"python": {"function": "bench_user:double"}}, "output": "doubled"},
            connections={"lake": STORE}, closure=code.digest, resources=self.resources,
        )  # fmt: skip
        self.plan = Plan(
            pipeline=PIPELINE, profile="cluster", file="bench.yaml", lake=lake.root, lake_connection=STORE, pool="p",
            kubernetes=self.settings.model_dump(mode="json", exclude_unset=True), code_archive=code.digest,
            environments={"steps": {"image": self.place.image}},
            dags=(PlanDag(dag_id=PIPELINE, flow="train", steps=(step,)),),
        )  # fmt: skip

    @property
    def resources(self) -> dict[str, Any]:
        """Of each pod."""
        return {"cpu": self.cpu, "memory": "1Gi"}

    @property
    def settings(self) -> PodSettings:
        """As a profile would have them."""
        return PodSettings(
            connection=CLUSTER, namespace=NAMESPACE, service_account="default", secrets={STORE: f"{SECRET}/{STORE}"},
            scratch="300Mi",
        )  # fmt: skip

    def step(self, number: int) -> dict[str, float]:
        """A step in a pod; its moments."""
        run_id = f"run{number}"
        now = datetime.now(UTC)
        pins = Pins(
            pipeline=PIPELINE, run_id=run_id, created=now, window=Window(start=now, end=now.replace(year=now.year + 1)),
            tables={TABLE: self._version},
        )  # fmt: skip
        self.place.lake.documents.create_model(Pins.path(PIPELINE, run_id), pins)
        step = self.plan.dags[0].steps[0]
        task = Timed(task_id=step.id, plan=self.plan, flow="train", step=step)
        context = _context(run_id)
        task.moments = {"asked": time.time()}
        try:
            task.execute(context)
        except TaskDeferred as deferred:
            lines = Lines()
            deferred.trigger._log = lines  # noqa: SLF001 - its log goes nowhere else here
            event = asyncio.run(_first(deferred.trigger))
            task.moments["noticed"] = time.time()
            getattr(task, str(deferred.method_name))(context, event.payload)
        task.moments["over"] = time.time()
        self.modules = tuple(lines.found["MODULES"])
        name = str(context["ti"].xcoms["pod_name"])
        stages = {stage: self.seen.until(name, stage, seconds=30) for stage in (seen.NODE, seen.ENDED)}
        return task.moments | lines.found["TIMES"] | stages

    def bare(self, number: int) -> dict[str, float]:
        """A bare pod that imports what the step imports; its moments."""
        name = f"bare-{number}"
        moments = {"asked": time.time()}
        self.place.cluster.kubectl(
            "run", name, "--namespace", NAMESPACE, "--image", self.place.image, "--restart", "Never",
            "--overrides", json.dumps(self._bare(name)),
        )  # fmt: skip
        moments["known"] = self.seen.until(name, seen.SUCCEEDED, seconds=300)
        log = self.place.cluster.kubectl("logs", name, "--namespace", NAMESPACE)
        self.place.cluster.kubectl("delete", "pod", name, "--namespace", NAMESPACE, "--wait=false")
        stages = {stage: self.seen.times[name][stage] for stage in (seen.CREATED, seen.NODE, seen.ENDED)}
        return moments | stages | told(log)["TIMES"]

    def _bare(self, name: str) -> dict[str, Any]:
        amounts = {"cpu": str(self.cpu), "memory": "1Gi"}
        container = {
            "name": name, "image": self.place.image, "command": ["python", "-c", BARE, *self.modules],
            "resources": {"requests": amounts, "limits": amounts},
            "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }  # fmt: skip
        security = {"runAsNonRoot": True, "runAsUser": 50000, "seccompProfile": {"type": "RuntimeDefault"}}
        return {
            "apiVersion": "v1",
            "spec": {
                "containers": [container], "securityContext": security, "automountServiceAccountToken": False,
                "enableServiceLinks": False,
            },
        }  # fmt: skip


def measure(place: Place, *, count: int, cpu: float) -> dict[str, Any]:
    """So many of each in turns, after one of each that is not counted."""
    client, _ = client_of(PodSettings(), Path(place.cluster.kubeconfig))
    with Seen(client, NAMESPACE) as watched:
        bench = Bench(place, cpu, watched)
        pairs = list(_turns(bench, count))
    steps, bares = [step for step, _ in pairs], [bare for _, bare in pairs]
    whole = {
        "step": [one["known"] - one["asked"] for one in steps],
        "bare": [one["known"] - one["asked"] for one in bares],
    }
    added = [step - bare for step, bare in zip(whole["step"], whole["bare"], strict=True)]
    return {
        "pods": count, "cpu": cpu, "modules": len(bench.modules),
        "step": spread(whole["step"]), "bare": spread(whole["bare"]), "added": spread(added),
        "over": spread([one["over"] - one["known"] for one in steps]),
        "phases": {"step": shares(steps, STEP_ORDER), "bare": shares(bares, BARE_ORDER)},
        "raw": {"step": steps, "bare": bares},
    }  # fmt: skip


def _turns(bench: Bench, count: int) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    for number in range(-1, count):
        pair = bench.step(number), bench.bare(number)
        if number >= 0:
            step, bare = (one["known"] - one["asked"] for one in pair)
            print(f"{number + 1:3} of {count}: step {step:.2f} s, bare {bare:.2f} s", flush=True)
            yield pair


class TaskInstance(SimpleNamespace):
    """As much of one as the operator asks for outside of Airflow."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep it."""
        self.xcoms[key] = value


def _context(run_id: str) -> Any:
    ti = TaskInstance(
        dag_id=PIPELINE, task_id="transform", run_id=run_id, map_index=-1, try_number=1, xcoms={},
        start_date=datetime.now(UTC),
    )  # fmt: skip
    return {"ti": ti, "run_id": run_id, "params": {}, "dag": SimpleNamespace(dag_id=PIPELINE)}


async def _first(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    raise AssertionError("a trigger gives an event")

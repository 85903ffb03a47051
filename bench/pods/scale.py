"""What a pod costs us, made and watched, when there are many: on a plane of simulated nodes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import Any

from kubernetes.client import ApiClient, CoreV1Api  # type: ignore[import-untyped]

from bench.pods.figures import spread
from bench.pods.plane import ENDS_AT, Plane
from bench.pods.watcher import TRIGGERS, Work, watch
from tradewind.pods.client import client_of
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.launchers.pod import PodSettings, pod

NAMESPACE = "default"
#: Pods a second: so many are made at least, and so many end, so that the plane is not what is measured.
PACE = {"made": 25, "end": 50}


def bodies(ends: Sequence[datetime], *, tag: str) -> list[dict[str, Any]]:
    """Pods of so many runs of one step, as the factory makes them, that end when they are told to."""
    settings = PodSettings(namespace=NAMESPACE, service_account="default")
    made = []
    for number, end in enumerate(ends):
        run_id = f"{tag}-{number}"
        request = StepRequest(
            step="train", id="train", pipeline="bench", run_id=run_id, refresh=run_id, lake="s3://lake/bench"
        )
        body = pod(request, settings, image="registry.example.com/steps:1", timeout=7200)
        body["metadata"]["annotations"][ENDS_AT] = end.isoformat()
        made.append(body)
    return made


def create(client: ApiClient, ends: Sequence[datetime], *, tag: str) -> tuple[list[str], dict[str, float]]:
    """Make them and send them; their names, and what it cost."""
    core, count = CoreV1Api(client), len(ends)
    began, cpu = time.monotonic(), time.process_time()
    made = bodies(ends, tag=tag)
    factory = time.process_time() - cpu
    for body in made:
        core.create_namespaced_pod(NAMESPACE, body)
    elapsed, spent = time.monotonic() - began, time.process_time() - cpu
    cost = {
        "seconds": round(elapsed, 2), "pods_per_second": round(count / elapsed, 1),
        "factory_cpu_ms_per_pod": round(factory / count * 1000, 3), "cpu_ms_per_pod": round(spent / count * 1000, 3),
    }  # fmt: skip
    return [body["metadata"]["name"] for body in made], cost


def running(client: ApiClient, names: list[str], *, seconds: float) -> float:
    """Wait until all have started; seconds that it took.

    Raises:
        TimeoutError: where they have not.
    """
    core, began, wanted = CoreV1Api(client), time.monotonic(), set(names)
    while time.monotonic() - began < seconds:
        found = client.sanitize_for_serialization(core.list_namespaced_pod(NAMESPACE, resource_version="0"))
        there = {one["metadata"]["name"] for one in found["items"] if one["status"].get("phase") != "Pending"}
        if wanted <= there:
            return time.monotonic() - began
        time.sleep(0.5)
    raise TimeoutError(f"{len(wanted - there)} of {len(names)} pods have not started")


def one(plane: Plane, count: int, *, trigger: str, seconds: float, ends: bool) -> dict[str, Any]:
    """So many pods: made, watched for a while by one process, and, where `ends`, to their ends."""
    client, _ = client_of(PodSettings(), plane.kubeconfig)
    settle = 10 + count / 50
    first = datetime.now(UTC) + timedelta(seconds=30 + count / PACE["made"] + settle + seconds)
    names, made = create(
        client, [first + timedelta(seconds=n / PACE["end"]) for n in range(count)], tag=f"{trigger}-{count}"
    )
    try:
        started = running(client, names, seconds=600)
        work = Work(plane.kubeconfig, NAMESPACE, names, trigger, settle, seconds, ends)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(watch, work).result()
    finally:
        _clear(client)
    late = found.pop("late")
    told = {"trigger": trigger, "made": made, "all_started_after": round(started, 1), "watched": found}
    return told | {"noticed_after": spread(late) | {"raw": late} if late else None}


def _clear(client: ApiClient) -> None:
    """Nothing of it is there for the next one, which would start late."""
    core = CoreV1Api(client)
    core.delete_collection_namespaced_pod(NAMESPACE, grace_period_seconds=0)
    while core.list_namespaced_pod(NAMESPACE, limit=1).items:
        time.sleep(0.5)


def measure(plane: Plane, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Each number of pods in turn."""
    return [_said(one(plane, count, trigger="tradewind", seconds=30, ends=True)) for count in counts]


def waiting(plane: Plane, count: int) -> list[dict[str, Any]]:
    """So many pods that only run, by our trigger and by Airflow's own."""
    return [_said(one(plane, count, trigger=name, seconds=60, ends=False)) for name in TRIGGERS]


def _said(found: dict[str, Any]) -> dict[str, Any]:
    late = {name: value for name, value in (found["noticed_after"] or {}).items() if name != "raw"}
    print(json.dumps(found | {"noticed_after": late}), flush=True)
    return found

"""What a pod costs us, made and watched, when there are many: on a plane of simulated nodes."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, CoreV1Api  # type: ignore[import-untyped]

from bench.pods.figures import spread
from bench.pods.plane import RUNS_FOR, Plane
from bench.pods.watcher import Work, watch
from tradewind.pods.client import client_of
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.launchers.pod import PodSettings, pod

NAMESPACE = "default"


def bodies(count: int, *, runs_for: float, tag: str) -> list[dict[str, Any]]:
    """Pods of so many runs of one step, as the factory makes them."""
    settings = PodSettings(namespace=NAMESPACE, service_account="default")
    made = []
    for number in range(count):
        request = StepRequest(step="train", id="train", pipeline="bench", run_id=f"{tag}-{number}", refresh=f"{tag}-{number}", lake="s3://lake/bench")
        body = pod(request, settings, image="registry.example.com/steps:1", timeout=7200)
        body["metadata"]["annotations"][RUNS_FOR] = f"{runs_for}s"
        made.append(body)
    return made


def create(client: ApiClient, count: int, *, runs_for: float, tag: str) -> tuple[list[str], dict[str, float]]:
    """Make them and send them; their names, and what it cost."""
    core = CoreV1Api(client)
    began, cpu = time.monotonic(), time.process_time()
    made = bodies(count, runs_for=runs_for, tag=tag)
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


def one(plane: Plane, count: int, *, trigger: str, settle: float, seconds: float, ends: bool) -> dict[str, Any]:
    """So many pods: made, watched for a while by one process, and, where `ends`, to their ends."""
    client, _ = client_of(PodSettings(), Path(plane.kubeconfig))
    rate = 60  # ends a second, so that the plane is not what is measured
    lasts = settle + seconds + count / 100 + 10
    tag = f"{trigger}-{count}"
    names, made = create(client, count, runs_for=lasts, tag=tag)
    started = running(client, names, seconds=600)
    work = Work(Path(plane.kubeconfig), NAMESPACE, names, trigger, settle, seconds, ends)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(watch, work).result()
    CoreV1Api(client).delete_collection_namespaced_pod(NAMESPACE, grace_period_seconds=0)
    late = found.pop("late")
    told = {"trigger": trigger, "made": made, "all_started_after": round(started, 1), "watched": found}
    return told | {"noticed": spread(late) | {"raw": late} if late else None}

"""One process that waits for many pods as a triggerer does, in one loop; what it costs."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger

from bench.pods.traffic import counted
from tradewind.pods.informer import EVERY
from tradewind.pods.watch import PodWatch
from tradewind_runtime.launchers.pod import CONTAINER

TRIGGERS: dict[str, type[KubernetesPodTrigger]] = {"tradewind": PodWatch, "airflow": KubernetesPodTrigger}


@dataclass(frozen=True)
class Cpu:
    """Seconds of this process: its own, and the kernel's, which on one machine has the other side's network in it."""

    user: float
    system: float

    @staticmethod
    def now() -> Cpu:
        """So far."""
        used = os.times()
        return Cpu(used.user, used.system)

    def minus(self, before: Cpu) -> Cpu:
        """Since then."""
        return Cpu(self.user - before.user, self.system - before.system)


@dataclass(frozen=True)
class Work:
    """What one process is to watch.

    Args:
        kubeconfig: of the cluster.
        namespace: of the pods.
        names: of the pods.
        trigger: whose.
        settle: seconds before it counts.
        seconds: that it counts while all of them run.
        ends: whether it then waits for their ends.
    """

    kubeconfig: Path
    namespace: str
    names: Sequence[str]
    trigger: str
    settle: float
    seconds: float
    ends: bool


def watch(work: Work) -> dict[str, Any]:
    """The cost of waiting, by pod and second, and how late each end was noticed."""
    return asyncio.run(_watch(work))


async def _watch(work: Work) -> dict[str, Any]:
    process = psutil.Process()
    before = process.memory_info().rss
    noticed: dict[str, float] = {}
    with counted() as traffic:
        cpu = Cpu.now()
        triggers = {name: trigger_of(work, name) for name in work.names}
        tasks = [asyncio.create_task(_noticed(name, one, noticed)) for name, one in triggers.items()]
        await asyncio.sleep(work.settle)
        start_cpu = Cpu.now().minus(cpu)
        start = traffic.copy()
        began, cpu = time.monotonic(), Cpu.now()
        await asyncio.sleep(work.seconds)
        elapsed, spent, asked = time.monotonic() - began, Cpu.now().minus(cpu), traffic.copy().minus(start)
        memory = process.memory_info().rss - before
        early = len(noticed)
        if work.ends:
            await asyncio.gather(*tasks)
        else:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    pods = len(work.names)
    return {
        "pods": pods,
        "ended_before_or_while_measured": early,
        "seconds": round(elapsed, 1),
        "cores": round((spent.user + spent.system) / elapsed, 4),
        "user_ms_per_pod_and_minute": round(spent.user / elapsed / pods * 60_000, 2),
        "system_ms_per_pod_and_minute": round(spent.system / elapsed / pods * 60_000, 2),
        "start_user_ms_per_pod": round(start_cpu.user / pods * 1000, 2),
        "memory_kib_per_pod": round(memory / pods / 1024, 1),
        "requests_per_pod_and_minute": round(asked.requests.total() / elapsed / pods * 60, 2),
        "bytes_per_pod_and_minute": round(asked.received / elapsed / pods * 60),
        "requests": dict(asked.requests),
        "clients": traffic.clients,
        "late": sorted(round(noticed[name] - end_of(triggers[name]), 4) for name in noticed if end_of(triggers[name])),
    }


def trigger_of(work: Work, name: str) -> KubernetesPodTrigger:
    """A pod's."""
    config = yaml.safe_load(work.kubeconfig.read_text())
    return TRIGGERS[work.trigger](
        pod_name=name, pod_namespace=work.namespace, trigger_start_time=datetime.now(UTC),
        base_container_name=CONTAINER, connection_extras={"kube_config": json.dumps(config)},
        schedule_timeout=600, startup_timeout=600, logging_interval=EVERY if work.trigger == "tradewind" else None,
    )  # fmt: skip


async def _noticed(name: str, trigger: KubernetesPodTrigger, noticed: dict[str, float]) -> None:
    async for _ in trigger.run():
        noticed[name] = time.time()
        return


def end_of(trigger: KubernetesPodTrigger) -> float:
    """When the simulated container ended, by its own message; 0 where that is not known."""
    last = getattr(trigger, "_last", None) or {}
    for status in (last.get("status") or {}).get("containerStatuses") or ():
        if message := (status["state"].get("terminated") or {}).get("message"):
            return datetime.fromisoformat(message).timestamp()
    return 0

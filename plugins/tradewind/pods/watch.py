"""Waits for a pod's end in the triggerer, passes on its log, and says why where it will not start or was lost.

Kubernetes tells of each change by a watch that all pods of a namespace share: an end is known at once, and a pod
that only runs costs one look at its log now and then.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.triggers.base import TriggerEvent
from kubernetes_asyncio.client import ApiException

from tradewind.pods.capacity import lacking
from tradewind.pods.ending import Ending, Object, ended, gone, stuck, unschedulable
from tradewind.pods.informer import AGAIN, AWAY, EVERY, NODES, Waiter, waiting
from tradewind_runtime.launchers.pod import CONTAINER

_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
#: A pod that makes room: its last lines are told again, for Airflow puts the log of the next one in their place.
LINES, WIDTH = 200, 500
OUT_OF_TOUCH = 600  # seconds that Kubernetes' API may be away


class PodWatch(KubernetesPodTrigger):
    """The trigger of a step's pod.

    Args:
        autoscaled: nodes may come that are not there now.
        rest: of `KubernetesPodTrigger`.
    """

    def __init__(self, *, autoscaled: bool = False, **rest: Any) -> None:
        super().__init__(**rest)
        self.autoscaled = autoscaled
        self._last: Object | None = None
        self._scheduled: float | None = None
        self._said: deque[str] = deque(maxlen=LINES)
        self._logged = ""  # the last line's time, as Kubernetes writes it
        self._looked_at_nodes = -math.inf

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, for the triggerer."""
        return "tradewind.pods.watch.PodWatch", super().serialize()[1] | {"autoscaled": self.autoscaled}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: the pod's ending."""
        ending = await self._ending()
        self._fired_event = True
        status = "success" if ending.well else "failed" if ending.kind in {"ended", "memory"} else "timeout"
        told = {"status": status, "namespace": self.pod_namespace, "name": self.pod_name, "message": ending.how}
        said = {"log": list(self._said)} if ending.kind == "disrupted" else {}
        yield TriggerEvent(told | said | {"ending": ending.model_dump()} | self.trigger_kwargs)  # type: ignore[no-untyped-call]

    async def _ending(self) -> Ending:
        async with waiting(self._key, self._hook, self.pod_namespace, self.pod_name) as waiter:
            while True:
                try:
                    return await self._follow(waiter)
                except AWAY as error:  # the network, an API server that starts again
                    if time.monotonic() - waiter.informer.in_touch > OUT_OF_TOUCH:
                        how = f"was lost from sight: Kubernetes' API gave no answer for {OUT_OF_TOUCH} s ({error})"
                        fix = "is Kubernetes' API well? it is tried again"
                        return Ending(kind="gone", code="TW598", how=how, fix=fix)
                    self.log.warning("Kubernetes' API gives no answer, asking again: %s", error)
                    await asyncio.sleep(AGAIN)
                except Exception as error:  # a trigger that fails would leave the pod behind
                    self.log.exception("the pod cannot be watched")
                    return Ending(kind="gone", code="TW598", how=f"was lost from sight: {error!r}")

    @property
    def _connection(self) -> dict[str, Any]:
        return {
            "conn_id": self.kubernetes_conn_id, "in_cluster": self.in_cluster, "config_dict": self.config_dict,
            "cluster_context": self.cluster_context, "connection_extras": self.connection_extras,
        }  # fmt: skip

    @property
    def _key(self) -> str:
        return json.dumps(self._connection, sort_keys=True, default=str)

    def _hook(self) -> AsyncKubernetesHook:
        return AsyncKubernetesHook(**self._connection)

    async def _follow(self, waiter: Waiter) -> Ending:
        pod = await waiter.look()
        while pod is not None:
            self._last = pod
            found = ended(pod) or await self._not_started(waiter, pod) or self._too_late()
            await self._pass_on_log(waiter, pod)
            if found is not None:
                return found
            pod = await waiter.change(pod)
        return gone(self._last)

    def _too_late(self) -> Ending | None:
        deadline = self.trigger_kwargs.get("_execution_deadline")
        if deadline is None or time.time() < deadline:
            return None
        return Ending(kind="ended", code="TW590", how="took longer than its timeout", fix="timeout: … with more")

    async def _not_started(self, waiter: Waiter, pod: Object) -> Ending | None:
        if pod["status"].get("phase") != "Pending":
            return None
        waited = (datetime.now(UTC) - self.trigger_start_time).total_seconds()
        if (why := unschedulable(pod)) is not None:
            self._scheduled = None
            return await self._without_node(waiter, pod, why, waited)
        if pod["spec"].get("nodeName") and self._scheduled is None:
            self._scheduled = time.monotonic()
        since = None if self._scheduled is None else time.monotonic() - self._scheduled
        # Most pods have started before anybody asks why they have not.
        events = await self._events(waiter) if since is not None and since >= EVERY else []
        if (ending := stuck(pod, events, scheduled=since)) is not None:
            return ending
        if since is None or since < self.startup_timeout:
            return None
        return Ending(kind="start", code="TW594", how=f"did not start within {self.startup_timeout} s on its node",
                      node=pod["spec"].get("nodeName"))  # fmt: skip

    async def _events(self, waiter: Waiter) -> list[Object]:
        api, about = await waiter.informer.api(), f"involvedObject.name={self.pod_name}"
        asked = api.list_namespaced_event(self.pod_namespace, field_selector=about, _preload_content=False)
        return list((await waiter.informer.plain(asked) or {}).get("items", ()))

    async def _without_node(self, waiter: Waiter, pod: Object, why: str, waited: float) -> Ending | None:
        if waited >= self.schedule_timeout:
            return Ending(
                kind="unschedulable", code="TW594", how=f"waited {waited:.0f} s for a node: {why}",
                fix="ask for less in resources:, or have more nodes; pending_timeout of the profile",
            )  # fmt: skip
        if self.autoscaled or time.monotonic() - self._looked_at_nodes < NODES:
            return None
        self._looked_at_nodes = time.monotonic()
        self.log.info("waiting for a node: %s", why)
        try:
            nodes = await waiter.informer.nodes()
        except ApiException as error:
            if error.status != 403:
                raise
            self.log.info("no right to look at nodes: waiting up to %d s", self.schedule_timeout)
            self._looked_at_nodes = math.inf
            return None
        reason = lacking(pod, nodes)
        if reason is None:
            return None
        return Ending(
            kind="unschedulable", code="TW594", how=f"fits on no node of the cluster: {reason}",
            fix="ask for less in resources:, or add such a node (autoscaled: true where nodes come)",
        )  # fmt: skip

    async def _pass_on_log(self, waiter: Waiter, pod: Object) -> None:
        """Lines that are new, each once."""
        if pod["status"].get("phase") == "Pending":
            return
        since: dict[str, Any] = {}
        if self._logged:
            seconds = math.ceil((datetime.now(UTC) - datetime.fromisoformat(self._logged)).total_seconds())
            since = {"since_seconds": seconds + 1}
        api = await waiter.informer.api()
        try:
            text = await api.read_namespaced_pod_log(
                self.pod_name, self.pod_namespace, container=CONTAINER, timestamps=True, **since
            )
        except ApiException as error:
            self.log.debug("no log yet, or no more: %s", error.reason)
            return
        for line in text.splitlines():
            when, _, message = line.partition(" ")
            # A line of the kubelet's own has no time: it has no log yet, or no more.
            if when > self._logged and _TIME.fullmatch(when):
                self._logged = when
                self._said.append(message[:WIDTH])
                self.log.info("%s", message)

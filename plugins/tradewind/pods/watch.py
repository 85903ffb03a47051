"""Waits for a pod's end in the triggerer, passes on its log, and says why where it will not start or was lost.

Kubernetes tells of each change by a watch: an end is known at once, and a pod costs two requests in five seconds.
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
from http import HTTPStatus
from typing import Any

from aiohttp import ClientError
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.triggers.base import TriggerEvent
from kubernetes_asyncio.client import ApiClient, ApiException, CoreV1Api

from tradewind.pods.capacity import lacking
from tradewind.pods.ending import Ending, Object, ended, gone, stuck, unschedulable
from tradewind_runtime.launchers.pod import CONTAINER

EVERY = 5  # seconds between looks at the log
RECONNECT = 300  # seconds that a connection is used: tokens of the cluster's own are changed
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
        self._in_touch = time.monotonic()
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
        while True:
            try:
                async with self.hook.get_conn() as connection:
                    if (found := await self._follow(connection)) is not None:
                        return found
            except (ApiException, ClientError, OSError) as error:  # the network, an API server that starts again
                if time.monotonic() - self._in_touch > OUT_OF_TOUCH:
                    how = f"was lost from sight: Kubernetes' API gave no answer for {OUT_OF_TOUCH} s ({error})"
                    return Ending(kind="gone", code="TW598", how=how, fix="is Kubernetes' API well? it is tried again")
                self.log.warning("Kubernetes' API gives no answer, asking again: %s", error)
                await asyncio.sleep(2)
            except Exception as error:  # a trigger that fails would leave the pod behind
                self.log.exception("the pod cannot be watched")
                return Ending(kind="gone", code="TW598", how=f"was lost from sight: {error!r}")

    async def _follow(self, connection: ApiClient) -> Ending | None:
        api, until = CoreV1Api(connection), time.monotonic() + RECONNECT
        self._plain = connection.sanitize_for_serialization
        pod = await self._look(api)
        while pod is not None and time.monotonic() < until:
            self._in_touch = time.monotonic()
            self._last = pod
            found = ended(pod) or await self._not_started(api, pod) or self._too_late()
            await self._pass_on_log(api, pod)
            if found is not None:
                return found
            pod = await self._change(api, pod)
        return gone(self._last) if pod is None else None

    async def _look(self, api: CoreV1Api) -> Object | None:
        """The pod as plain data, which takes a twentieth of the time of the client's own models."""
        asked: Any = await api.read_namespaced_pod(self.pod_name, self.pod_namespace, _preload_content=False)
        async with asked as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            if not answer.ok:
                raise ApiException(status=answer.status, reason=answer.reason)
            return dict(await answer.json())

    async def _change(self, api: CoreV1Api, pod: Object) -> Object | None:
        """The pod as it has become, or as it is when it is time to look at its log; None where it is gone."""
        # Not by the client's Watch: each makes a client of its own, with all authorities of this machine.
        news: Any = await api.list_namespaced_pod(
            self.pod_namespace, field_selector=f"metadata.name={self.pod_name}", watch=True, timeout_seconds=EVERY,
            resource_version=pod["metadata"]["resourceVersion"], _preload_content=False,
        )  # fmt: skip
        async with news as answer:
            # Gone: what is asked for is too long ago, so there is news.
            if not answer.ok and answer.status != HTTPStatus.GONE:
                raise ApiException(status=answer.status, reason=answer.reason)
            line = await answer.content.readline()
        if not line:
            return pod
        told: dict[str, Any] = json.loads(line)
        return dict(told["object"]) if told.get("type") in {"ADDED", "MODIFIED"} else await self._look(api)

    def _too_late(self) -> Ending | None:
        deadline = self.trigger_kwargs.get("_execution_deadline")
        if deadline is None or time.time() < deadline:
            return None
        return Ending(kind="ended", code="TW590", how="took longer than its timeout", fix="timeout: … with more")

    async def _not_started(self, api: CoreV1Api, pod: Object) -> Ending | None:
        if pod["status"].get("phase") != "Pending":
            return None
        waited = (datetime.now(UTC) - self.trigger_start_time).total_seconds()
        if (why := unschedulable(pod)) is not None:
            self._scheduled = None
            return await self._without_node(api, pod, why, waited)
        if pod["spec"].get("nodeName") and self._scheduled is None:
            self._scheduled = time.monotonic()
        since = None if self._scheduled is None else time.monotonic() - self._scheduled
        about = f"involvedObject.name={self.pod_name}"
        found = await api.list_namespaced_event(self.pod_namespace, field_selector=about)
        events = [self._plain(event) for event in found.items]
        if (ending := stuck(pod, events, scheduled=since)) is not None:
            return ending
        if since is None or since < self.startup_timeout:
            return None
        return Ending(kind="start", code="TW594", how=f"did not start within {self.startup_timeout} s on its node",
                      node=pod["spec"].get("nodeName"))  # fmt: skip

    async def _without_node(self, api: CoreV1Api, pod: Object, why: str, waited: float) -> Ending | None:
        if waited >= self.schedule_timeout:
            return Ending(
                kind="unschedulable", code="TW594", how=f"waited {waited:.0f} s for a node: {why}",
                fix="ask for less in resources:, or have more nodes; pending_timeout of the profile",
            )  # fmt: skip
        if self.autoscaled or time.monotonic() - self._looked_at_nodes < 30:
            return None
        self._looked_at_nodes = time.monotonic()
        self.log.info("waiting for a node: %s", why)
        try:
            nodes = (await api.list_node()).items
        except ApiException as error:
            if error.status != 403:
                raise
            self.log.info("no right to look at nodes: waiting up to %d s", self.schedule_timeout)
            self._looked_at_nodes = math.inf
            return None
        reason = lacking(pod, [self._plain(node) for node in nodes])
        if reason is None:
            return None
        return Ending(
            kind="unschedulable", code="TW594", how=f"fits on no node of the cluster: {reason}",
            fix="ask for less in resources:, or add such a node (autoscaled: true where nodes come)",
        )  # fmt: skip

    async def _pass_on_log(self, api: CoreV1Api, pod: Object) -> None:
        """Lines that are new, each once."""
        if pod["status"].get("phase") == "Pending":
            return
        since: dict[str, Any] = {}
        if self._logged:
            seconds = math.ceil((datetime.now(UTC) - datetime.fromisoformat(self._logged)).total_seconds())
            since = {"since_seconds": seconds + 1}
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

"""Waits in the triggerer until a server's replicas are there, and says why where they do not come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from kubernetes_asyncio.client import ApiClient, ApiException, CoreV1Api

from tradewind.servers.coming import trouble, up

EVERY = 2  # seconds


class ServerWatch(BaseTrigger):
    """Wakes when so many pods are up, or one of them never will be.

    Args:
        connection: Airflow's, of the cluster; None for the one that Airflow runs in.
        namespace: of the pods.
        selector: labels of the pods that count.
        replicas: how many have to be up.
        ready: they must answer, not only run.
        patience: seconds.
    """

    def __init__(
        self, *, connection: str | None, namespace: str, selector: str, replicas: int, ready: bool, patience: int
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.connection = connection
        self.namespace = namespace
        self.selector = selector
        self.replicas = replicas
        self.ready = ready
        self.patience = patience

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, for the triggerer."""
        names = ("connection", "namespace", "selector", "replicas", "ready", "patience")
        return "tradewind.servers.watch.ServerWatch", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `{"up": how many}`, with `why` where that is too few."""
        until, seen, why = time.monotonic() + self.patience, 0, ""
        while time.monotonic() < until:
            try:
                async with AsyncKubernetesHook(conn_id=self.connection).get_conn() as client:
                    while time.monotonic() < until:
                        seen, why = await self._look(client)
                        if seen >= self.replicas or why:
                            yield TriggerEvent({"up": seen, "why": why})  # type: ignore[no-untyped-call]
                            return
                        await asyncio.sleep(EVERY)
            except (ApiException, ClientError, OSError) as error:
                self.log.warning("Kubernetes' API gives no answer, asking again: %s", error)
                await asyncio.sleep(EVERY)
        late = f"{seen} of {self.replicas} replicas were up after {self.patience} s"
        yield TriggerEvent({"up": seen, "why": late})  # type: ignore[no-untyped-call]

    async def _look(self, client: ApiClient) -> tuple[int, str]:
        api, plain = CoreV1Api(client), client.sanitize_for_serialization
        pods = plain(await api.list_namespaced_pod(self.namespace, label_selector=self.selector))["items"]
        waiting = [pod for pod in pods if not up(pod, ready=self.ready)]
        for pod in waiting:
            about = f"involvedObject.name={pod['metadata']['name']}"
            events = plain(await api.list_namespaced_event(self.namespace, field_selector=about))["items"]
            if (found := trouble(pod, events, datetime.now(UTC))) is not None:
                return len(pods) - len(waiting), f"its pod {found}"
        return len(pods) - len(waiting), ""

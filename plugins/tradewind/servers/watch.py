"""Waits in the triggerer until a server's replicas are there, and says why where they do not come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from kubernetes_asyncio.client import ApiClient, ApiException, CoreV1Api, CustomObjectsApi

from tradewind.pods.ending import PATIENCE
from tradewind.servers.coming import trouble, up
from tradewind.servers.said import OBJECTS, Said

EVERY = 2  # seconds
LAG = 10  # seconds until a controller has surely seen what was applied: its word may be about what was there before
NOTHING = Said(silent=True)


@dataclass(frozen=True)
class Seen:
    """One look.

    Args:
        up: pods that are.
        pods: that there are.
        trouble: of one of them.
        said: of the object that they belong to.
    """

    up: int = 0
    pods: int = 0
    trouble: str = ""
    said: Said = NOTHING


class Since:
    """For how long something has been true without a break."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self, true: bool) -> float:
        """Seconds; 0 where it is not."""
        now = time.monotonic()
        self._since = (self._since if self._since is not None else now) if true else None
        return now - self._since if self._since is not None else 0.0


class ServerWatch(BaseTrigger):
    """Wakes when so many pods are up, or one of them never will be.

    Args:
        connection: Airflow's, of the cluster; None for the one that Airflow runs in.
        namespace: of the pods.
        kind: of server.
        name: of the object that makes the pods.
        selector: labels of the pods that count.
        replicas: how many have to be up; 0 where none may be left when nobody asks: then one has to come up once.
        ready: they must answer, not only run.
        patience: seconds.
    """

    def __init__(
        self, *, connection: str | None, namespace: str, kind: str, name: str, selector: str, replicas: int,
        ready: bool, patience: int,
    ) -> None:  # fmt: skip
        super().__init__()  # type: ignore[no-untyped-call]
        self.connection = connection
        self.namespace = namespace
        self.kind = kind
        self.name = name
        self.selector = selector
        self.replicas = replicas
        self.ready = ready
        self.patience = patience

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, for the triggerer."""
        names = ("connection", "namespace", "kind", "name", "selector", "replicas", "ready", "patience")
        return "tradewind.servers.watch.ServerWatch", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `{"up": how many}`, with `why` where that is too few."""
        until, seen, refused, well = time.monotonic() + self.patience, Seen(), Since(), Since()
        while time.monotonic() < until:
            try:
                async with AsyncKubernetesHook(conn_id=self.connection).get_conn() as client:
                    while time.monotonic() < until:
                        seen = await self._look(client)
                        stays = refused(bool(seen.said.why) and not seen.pods) >= PATIENCE
                        why = seen.trouble or (seen.said.why if stays else "")
                        sleeps = not self.replicas and well(seen.said.well) >= LAG
                        if why or sleeps or seen.up >= max(1, self.replicas):
                            yield TriggerEvent({"up": seen.up, "why": why})  # type: ignore[no-untyped-call]
                            return
                        await asyncio.sleep(EVERY)
            except (ApiException, ClientError, OSError) as error:
                self.log.warning("Kubernetes' API gives no answer, asking again: %s", error)
                await asyncio.sleep(EVERY)
        yield TriggerEvent({"up": seen.up, "why": self._late(seen)})  # type: ignore[no-untyped-call]

    def _late(self, seen: Seen) -> str:
        late = f"{seen.up} of {max(1, self.replicas)} replicas were up after {self.patience} s"
        if seen.said.silent and not seen.pods:
            return f"{late}, and nothing is said of the object {self.name}: does its controller run?"
        return f"{late}; {seen.said.why}" if seen.said.why else late

    async def _look(self, client: ApiClient) -> Seen:
        api, plain = CoreV1Api(client), client.sanitize_for_serialization
        group, version, plural, hear = OBJECTS[self.kind]
        said = hear(
            await CustomObjectsApi(client).get_namespaced_custom_object(
                group, version, self.namespace, plural, self.name
            )
        )
        pods = plain(await api.list_namespaced_pod(self.namespace, label_selector=self.selector))["items"]
        waiting = [pod for pod in pods if not up(pod, ready=self.ready)]
        there = len(pods) - len(waiting)
        for pod in waiting:
            about = f"involvedObject.name={pod['metadata']['name']}"
            events = plain(await api.list_namespaced_event(self.namespace, field_selector=about))["items"]
            if (found := trouble(pod, events, datetime.now(UTC))) is not None:
                return Seen(there, len(pods), f"its pod {found}", said)
        return Seen(there, len(pods), "", said)

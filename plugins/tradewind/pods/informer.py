"""What the triggerer's process sees of a namespace: one watch, however many triggers wait for pods there.

As an informer of Kubernetes' own clients, but it keeps no pods: it wakes those that wait for one with what it is told.
Where it may have missed something, each of them looks for itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import ClientError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from kubernetes_asyncio.client import ApiException, CoreV1Api

from tradewind.pods.ending import Object

log = logging.getLogger(__name__)
EVERY = 5  # seconds between looks at a pod's log,
READS = 40  # but no more such looks a second by one process,
SELDOM = 30  # unless they would be further apart than this
RENEW = 300  # seconds that a connection is used: tokens of the cluster's own are changed
NODES = 30  # seconds that a list of nodes is good for
#: Seconds without a word of the watch. Each minute Kubernetes tells at least how far it is: then each waiter looks
#: for itself, and after the second the watch is begun anew.
QUIET, _DEAD = 90, 120
_PATIENCE = 10  # seconds until there is a client
AGAIN = 2  # seconds after the network or the API server was away
_STEPS = "app.kubernetes.io/component=step"
#: What is met when Kubernetes' API is away for a while.
AWAY = (ApiException, ClientError, OSError)

Make = Callable[[], AsyncKubernetesHook]


class Informer:
    """One namespace through one connection, for as long as anybody waits for a pod there.

    Args:
        make: Airflow's hook of the connection, as it is now.
        namespace: of the pods.
    """

    def __init__(self, make: Make, namespace: str) -> None:
        self.namespace = namespace
        self.in_touch = time.monotonic()  # the last time that Kubernetes' API has answered
        self.waiters: defaultdict[str, list[Waiter]] = defaultdict(list)
        self._make = make
        self._trouble: Exception | None = None
        self._heard = -math.inf  # the last word of the watch
        self._api: asyncio.Future[CoreV1Api] = asyncio.get_running_loop().create_future()
        self._nodes: tuple[float, list[Object]] = (-math.inf, [])
        self._looking = asyncio.Lock()
        # With no trigger's context: its log is not ours, and may be over before we are.
        self._task = asyncio.create_task(self._run(), name="pods", context=contextvars.Context())

    @property
    def every(self) -> float:
        """Seconds between looks at one pod's log: what all of them cost together is bounded."""
        return min(max(EVERY, len(self.waiters) / READS), SELDOM)

    @property
    def watching(self) -> bool:
        """Whether what changes is told."""
        return time.monotonic() - self._heard < QUIET

    async def api(self) -> CoreV1Api:
        """A client.

        Raises:
            Exception: why there is none.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(self._api)
        raise self._trouble or TimeoutError(f"no client of Kubernetes within {_PATIENCE} s")

    async def plain(self, asked: Any) -> Object | None:
        """An answer as plain data, which takes a twentieth of the time of the client's own models; None: not found."""
        async with await asked as answer:
            self.in_touch = time.monotonic()
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            if not answer.ok:
                raise ApiException(status=answer.status, reason=answer.reason)
            return dict(json.loads(await answer.read()))

    async def nodes(self) -> list[Object]:
        """Those of the cluster, as they were half a minute ago at most.

        Raises:
            ApiException: 403 where one may not look.
        """
        async with self._looking:
            if time.monotonic() - self._nodes[0] > NODES:
                api = await self.api()
                found = await self.plain(api.list_node(resource_version="0", _preload_content=False))
                self._nodes = (time.monotonic(), list((found or {})["items"]))
            return self._nodes[1]

    async def close(self) -> None:
        """Nobody waits any more."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        version: str | None = None
        async with AsyncExitStack() as now, AsyncExitStack() as before:
            while True:
                try:
                    api = CoreV1Api(await now.enter_async_context(self._make().get_conn()))
                    self._serve(api)
                    version = await self._watch(api, version or await self._begin(api))
                except Exception as error:
                    if not isinstance(error, AWAY):
                        log.exception("pods cannot be watched; each is looked at by itself")
                    self._trouble = error
                    await asyncio.sleep(AGAIN)
                self._heard = -math.inf
                # Requests that are under way have until the next connection's end.
                await before.aclose()
                before.push_async_exit(now.pop_all())

    def _serve(self, api: CoreV1Api) -> None:
        if self._api.done():
            self._api = asyncio.get_running_loop().create_future()
        self._api.set_result(api)

    async def _begin(self, api: CoreV1Api) -> str:
        """A place to begin at; what was before it, everybody sees for himself."""
        found = await self.plain(api.list_namespaced_pod(self.namespace, limit=1, _preload_content=False))
        for waiters in self.waiters.values():
            for waiter in waiters:
                waiter.tell(None)
        return str((found or {})["metadata"]["resourceVersion"])

    async def _watch(self, api: CoreV1Api, version: str) -> str | None:
        """Up to where it was heard; None where that is too long ago to go on from."""
        asked: Any = await api.list_namespaced_pod(
            self.namespace, label_selector=_STEPS, watch=True, allow_watch_bookmarks=True, resource_version=version,
            timeout_seconds=RENEW, _preload_content=False, _request_timeout=(_PATIENCE, _DEAD),
        )  # fmt: skip
        async with asked as answer:
            if answer.status == HTTPStatus.GONE:
                return None
            if not answer.ok:
                raise ApiException(status=answer.status, reason=answer.reason)
            self._heard = time.monotonic()
            with suppress(*AWAY):  # what was heard before is heard
                async for line in answer.content:
                    self._heard = self.in_touch = time.monotonic()
                    told = json.loads(line)
                    if told["type"] == "ERROR":
                        return None
                    version = self._tell(told["type"], told["object"])
        return version

    def _tell(self, kind: str, pod: Object) -> str:
        about = pod["metadata"]
        for waiter in self.waiters.get(about.get("name", ""), ()):
            waiter.tell(pod if kind in {"ADDED", "MODIFIED"} else None)
        return str(about["resourceVersion"])


@dataclass(eq=False)
class Waiter:
    """Who waits for one pod, and what was told of it and not taken yet."""

    informer: Informer
    name: str
    _told: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _pod: Object | None = field(default=None, init=False)  # None: look for yourself

    def tell(self, pod: Object | None) -> None:
        """What the pod is now."""
        self._pod = pod
        self._told.set()

    async def look(self) -> Object | None:
        """The pod; None where it is gone."""
        self._told.clear()  # before it is asked: what is told from now on is newer
        api, namespace = await self.informer.api(), self.informer.namespace
        return await self.informer.plain(api.read_namespaced_pod(self.name, namespace, _preload_content=False))

    async def change(self, pod: Object) -> Object | None:
        """The pod as it has become, or as it is when it is time to look at its log; None where it is gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.informer.every):
                await self._told.wait()
        if not self._told.is_set() and self.informer.watching:
            return pod
        if self._pod is None or not self._told.is_set():
            return await self.look()
        self._told.clear()
        return self._pod


_informers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], Informer]] = WeakKeyDictionary()


@asynccontextmanager
async def waiting(key: str, make: Make, namespace: str, name: str) -> AsyncIterator[Waiter]:
    """Wait for a pod, with all that wait in this loop for pods of its namespace through the same connection.

    Args:
        key: of the connection.
        make: its hook.
        namespace: of the pod.
        name: of the pod.
    """
    here, place = _informers.setdefault(asyncio.get_running_loop(), {}), (key, namespace)
    informer = here.get(place) or here.setdefault(place, Informer(make, namespace))
    waiter = Waiter(informer, name)
    informer.waiters[name].append(waiter)
    try:
        yield waiter
    finally:
        informer.waiters[name].remove(waiter)
        if not informer.waiters[name]:
            del informer.waiters[name]
        if not informer.waiters:
            del here[place]
            await informer.close()

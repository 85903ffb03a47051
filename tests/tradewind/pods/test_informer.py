"""One watch for all that wait, and what becomes of them where it breaks: a server on the loopback that speaks as much
of Kubernetes' API, made to fail as the real one does. The real one: `tests/cluster/test_many.py`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration

from tradewind.pods import informer
from tradewind.pods.informer import Waiter, waiting

NAMESPACE = "team"
Object = dict[str, Any]


@dataclass
class Api:
    """Pods of one namespace, and whoever watches them."""

    pods: dict[str, Object] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    versions: list[str] = field(default_factory=list)  # that watches have begun at
    refuses: int = 0  # a status that every request has instead of an answer
    gone: bool = False  # a watch begins too late
    version: int = 100
    _watches: list[asyncio.Queue[Object | None]] = field(default_factory=list)

    def put(self, name: str, **status: Any) -> None:
        kind = "MODIFIED" if name in self.pods else "ADDED"
        self.version += 1
        about = {"name": name, "resourceVersion": str(self.version)}
        self.pods[name] = {"metadata": about, "status": status}
        self._tell({"type": kind, "object": self.pods[name]})

    def delete(self, name: str) -> None:
        self._tell({"type": "DELETED", "object": self.pods.pop(name)})

    def hang_up(self) -> None:
        """All watches end."""
        self._tell(None)

    def expire(self) -> None:
        status = {"kind": "Status", "code": 410, "metadata": {}}
        self._tell({"type": "ERROR", "object": status})

    def _tell(self, event: Object | None) -> None:
        for watch in self._watches:
            watch.put_nowait(event)

    async def one(self, request: web.Request) -> web.StreamResponse:
        self.asked["get"] += 1
        pod = self.pods.get(request.match_info["name"])
        return self._answer(pod, 404 if pod is None else 200)

    async def many(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.asked["list"] += 1
            return self._answer({"metadata": {"resourceVersion": str(self.version)}, "items": []})
        response, events = web.StreamResponse(), asyncio.Queue[Object | None]()
        self._watches.append(events)
        self.asked["watch"] += 1
        self.versions.append(request.query["resourceVersion"])
        if self.refuses or self.gone:
            return self._answer({}, 410)
        await response.prepare(request)
        while (event := await events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        self._watches.remove(events)
        return response

    async def nodes(self, request: web.Request) -> web.StreamResponse:
        del request
        self.asked["nodes"] += 1
        return self._answer({"items": [{"metadata": {"name": "n"}}]})

    def _answer(self, body: Object | None, status: int = 200) -> web.Response:
        return web.json_response(body, status=self.refuses or status)

    async def watched(self, times: int = 1) -> None:
        """Until so many watches have begun."""
        async with asyncio.timeout(10):
            while self.asked["watch"] < times:
                await asyncio.sleep(0.01)


class Hook:
    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def get_conn(self) -> AsyncIterator[ApiClient]:
        async with ApiClient(Configuration(host=self._url)) as client:
            yield client


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Api, Callable[[str], Any]]]:
    api, app = Api(), web.Application()
    app.router.add_get("/api/v1/namespaces/team/pods", api.many)
    app.router.add_get("/api/v1/namespaces/team/pods/{name}", api.one)
    app.router.add_get("/api/v1/nodes", api.nodes)
    runner = web.AppRunner(app, shutdown_timeout=0, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api, lambda name: waiting(url, lambda: Hook(url), NAMESPACE, name)  # type: ignore[arg-type, return-value]
    finally:
        api.hang_up()
        await runner.cleanup()


def within(story: Callable[[Api, Callable[[str], Any]], Awaitable[None]]) -> None:
    async def told() -> None:
        async with asyncio.timeout(30), opened() as (api, wait):
            await story(api, wait)

    asyncio.run(told())


def phase(pod: Object | None) -> str:
    assert pod is not None
    return str(pod["status"]["phase"])


async def news(waiter: Waiter, pod: Object) -> Object | None:
    """What `change` says once it is something else."""
    while (found := await waiter.change(pod)) == pod:
        pass
    return found


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "AGAIN", 0.05)


def test_many_wait_by_one_watch_and_each_hears_of_its_own() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        names = [f"pod-{number}" for number in range(50)]
        for name in names:
            api.put(name, phase="Running")

        async def follow(name: str) -> str:
            async with wait(name) as waiter:
                pod = await waiter.look()
                assert phase(pod) == "Running"
                return phase(await news(waiter, pod))

        async def end() -> None:
            await api.watched()
            await asyncio.sleep(0.3)
            for number, name in enumerate(names):
                api.put(name, phase="Failed" if number % 2 else "Succeeded")

        *phases, _ = await asyncio.gather(*(follow(name) for name in names), end())
        assert phases == ["Succeeded", "Failed"] * 25
        assert api.asked["watch"] == 1
        assert api.asked["get"] <= 2 * len(names), "each looked once, and once more where the watch began"

    within(story)


def test_what_happened_before_the_watch_is_seen_and_what_is_between_looking_and_waiting_too() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        api.put("pod", phase="Pending")
        async with wait("pod") as waiter:
            pod = await waiter.look()
            await api.watched()
            api.put("pod", phase="Running")
            await asyncio.sleep(0.2)
            api.put("pod", phase="Succeeded")
            await asyncio.sleep(0.2)
            assert phase(await news(waiter, pod)) == "Succeeded"

    within(story)


def test_a_pod_that_was_deleted_is_gone_and_one_that_took_its_place_is_not() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        api.put("pod", phase="Running")
        async with wait("pod") as waiter:
            pod = await waiter.look()
            await api.watched()
            api.delete("pod")
            api.put("pod", phase="Pending")
            pod = await news(waiter, pod)
            assert phase(pod) == "Pending"
            api.delete("pod")
            assert await news(waiter, pod) is None

    within(story)


def test_a_watch_that_breaks_off_goes_on_where_it_was() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        api.put("pod", phase="Pending")
        async with wait("pod") as waiter:
            pod = await waiter.look()
            await api.watched()
            api.put("pod", phase="Running")
            pod = await news(waiter, pod)
            api.hang_up()
            await api.watched(2)
            assert api.versions == ["101", "102"]
            api.put("pod", phase="Succeeded")
            assert phase(await news(waiter, pod)) == "Succeeded"

    within(story)


def test_where_it_is_too_late_to_go_on_everybody_looks() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        api.put("pod", phase="Running")
        async with wait("pod") as waiter:
            pod = await waiter.look()
            await api.watched()
            api.pods["pod"] = api.pods["pod"] | {"status": {"phase": "Succeeded"}}  # nobody is told
            api.expire()
            assert phase(await news(waiter, pod)) == "Succeeded"
            await api.watched(2)
            assert api.asked["list"] == 2, "the watch goes on from a new place"

    within(story)


def test_without_a_watch_each_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "EVERY", 0.05)

    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        api.put("pod", phase="Running")
        api.gone = True
        async with wait("pod") as waiter:
            pod = await waiter.look()
            api.pods["pod"] = api.pods["pod"] | {"status": {"phase": "Failed"}}
            assert phase(await news(waiter, pod)) == "Failed"

    within(story)


def test_a_server_that_is_away_is_an_error_until_it_is_back() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        api.put("pod", phase="Running")
        api.refuses = 503
        async with wait("pod") as waiter:
            with pytest.raises(ApiException):
                await waiter.look()
            touched = waiter.informer.in_touch
            api.refuses = 0
            assert phase(await waiter.look()) == "Running"
            assert waiter.informer.in_touch > touched

    within(story)


def test_nodes_are_asked_for_once_for_all() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        async with wait("pod") as waiter:
            found = await asyncio.gather(*(waiter.informer.nodes() for _ in range(20)))
            assert found == [[{"metadata": {"name": "n"}}]] * 20
            assert api.asked["nodes"] == 1

    within(story)


def test_two_may_wait_for_one_pod_and_the_last_one_takes_the_watch_with_it() -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        api.put("pod", phase="Running")
        async with wait("pod") as first:
            pod = await first.look()
            async with wait("pod") as second:
                assert second.informer is first.informer
                await api.watched()
            api.put("pod", phase="Succeeded")
            assert phase(await news(first, pod)) == "Succeeded"
        async with wait("pod") as again:
            assert again.informer is not first.informer

    within(story)


@pytest.mark.parametrize(("pods", "seconds"), [(1, 5), (200, 5), (1000, 25), (5000, 30)])
def test_logs_are_looked_at_more_seldom_where_there_are_many(pods: int, seconds: float) -> None:
    async def story(api: Api, wait: Callable[[str], Any]) -> None:
        async with wait("pod") as waiter:
            for number in range(pods - 1):
                waiter.informer.waiters[str(number)] = []
            assert waiter.informer.every == seconds
            waiter.informer.waiters.clear()
            waiter.informer.waiters["pod"].append(waiter)

    within(story)

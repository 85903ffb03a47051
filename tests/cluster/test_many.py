"""Many pods are waited for by few requests, and each one's end is known, though the API server is killed meanwhile.

On a control plane of its own, real, with simulated nodes: `bench/pods/plane.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from bench.pods import plane, scale, watcher
from bench.pods.plane import Plane
from bench.pods.traffic import counted

from tradewind.pods.client import client_of
from tradewind_runtime.launchers.pod import PodSettings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
PODS = 200
SOON, LAST = 60.0, 20.0  # seconds: until the first pod ends, and from there to the last


@pytest.fixture(scope="module")
def simulated() -> Iterator[Plane]:
    with plane.opened(nodes=20) as found:
        yield found


def test_two_hundred_ends_are_known_by_one_watch_that_breaks_off(simulated: Plane) -> None:
    client, _ = client_of(PodSettings(), simulated.kubeconfig)
    first = datetime.now(UTC) + timedelta(seconds=SOON)
    ends = [first + timedelta(seconds=number * LAST / PODS) for number in range(PODS)]
    names, _ = scale.create(client, ends, tag="many")
    scale.running(client, names, seconds=SOON)
    asked, late = asyncio.run(_watched(simulated, names, first))
    print(f"{dict(asked)}; known after {sorted(late)[PODS // 2]:.2f} s in the median, {max(late):.2f} s at most")
    assert len(late) == PODS
    assert asked["watch"] < 20
    assert asked["pods"] <= PODS * 4, "each looked at the beginning, and where the watch began anew"
    assert sorted(late)[PODS // 2] < 2


async def _watched(simulated: Plane, names: list[str], first: datetime) -> tuple[dict[str, int], list[float]]:
    """Requests by kind, and how late each end was known; half of them end while the API server is away or after."""
    work = watcher.Work(simulated.kubeconfig, scale.NAMESPACE, names, "tradewind", 0, 0, ends=True)
    triggers, known = {name: watcher.trigger_of(work, name) for name in names}, {}

    async def noticed(name: str) -> None:
        async for event in triggers[name].run():
            assert event.payload["status"] == "success", event.payload
            known[name] = time.time()
            return

    with counted() as traffic:
        waiting = [asyncio.create_task(noticed(name)) for name in names]
        await asyncio.sleep(max(0.0, first.timestamp() + LAST / 2 - time.time()))
        assert known, "some have ended"
        await asyncio.to_thread(simulated.kill_api)
        await asyncio.gather(*waiting)
    return dict(traffic.requests), [known[name] - watcher.end_of(triggers[name]) for name in names]

"""What the trigger tells of a server: against an API on the loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tradewind.servers.fake import Api, opened
from tests.tradewind.servers.test_coming import READY, STARTED, pod, waiting
from tests.tradewind.servers.test_said import QUOTA, one

from tradewind.servers import watch
from tradewind.servers.watch import ServerWatch

NAME = "serve-m"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A cluster whose time is quick."""
    monkeypatch.setattr(watch, "EVERY", 0.05)
    monkeypatch.setattr(watch, "PATIENCE", 0.4)
    monkeypatch.setattr(watch, "LAG", 0.4)
    with opened(tmp_path) as found:
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", found.connection)
        found.objects["deployments", NAME] = {}
        found.objects["inferenceservices", NAME] = {}
        yield found


def told(kind: str = "deployment", replicas: int = 1, *, ready: bool = False, patience: int = 20) -> dict[str, Any]:
    given = ServerWatch(connection="cluster", namespace="ns", kind=kind, name=NAME, selector="a=b",
                        replicas=replicas, ready=ready, patience=patience)  # fmt: skip
    assert ServerWatch(**given.serialize()[1]).serialize() == given.serialize()
    return asyncio.run(_first(given))


async def _first(trigger: ServerWatch) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError


def later(seconds: float, do: Any) -> None:
    threading.Timer(seconds, do).start()


def test_pods_that_are_up_are_enough(api: Api) -> None:
    api.pods += [pod(READY), pod(READY)]
    assert told(replicas=2, ready=True) == {"up": 2, "why": ""}


def test_a_quota_that_keeps_all_pods_away_is_told_long_before_patience_ends(api: Api) -> None:
    api.says("deployments", NAME, QUOTA)
    assert told(patience=60) == {"up": 0, "why": f"its pods are refused: {QUOTA['message']}"}


def test_a_quota_that_is_freed_meanwhile_is_nothing(api: Api) -> None:
    api.says("deployments", NAME, QUOTA)
    later(0.2, lambda: api.says("deployments", NAME))
    later(0.8, lambda: api.pods.append(pod(STARTED)))
    assert told() == {"up": 1, "why": ""}


def test_with_a_pod_there_its_own_state_counts_and_the_quota_is_told_at_the_end(api: Api) -> None:
    api.pods.append(pod(STARTED))
    api.says("deployments", NAME, QUOTA)
    found = told(replicas=2, patience=1)
    assert found["up"] == 1
    assert found["why"].startswith("1 of 2 replicas were up after 1 s; its pods are refused: ")


def test_a_pods_trouble_comes_before_what_is_said_of_the_whole(api: Api) -> None:
    api.pods.append(pod(waiting("CrashLoopBackOff", exitCode=1)))
    api.says("inferenceservices", NAME, one("Ready", "False", reason="RevisionFailed"))
    assert told("kserve")["why"] == "its pod starts again and again: it ends with exit code 1"


def test_kserves_own_reason_is_told(api: Api) -> None:
    api.says("inferenceservices", NAME, one("PredictorReady", "False", reason="NoRight", message="no revisions"))
    assert told("kserve")["why"] == "KServe says PredictorReady is false: NoRight: no revisions"


@pytest.mark.parametrize("what", ["a pod that started", "ready, with none"])
def test_who_scales_to_zero_comes_up_once(api: Api, what: str) -> None:
    """KServe starts a pod of a new revision, and lets it end when nobody asks."""
    api.says("inferenceservices", NAME, one("Ready", "Unknown"))
    ready = what == "ready, with none"
    come = (lambda: api.says("inferenceservices", NAME, one("Ready", "True"))) if ready else None
    later(0.3, come or (lambda: api.pods.append(pod(STARTED))))
    assert told("kserve", 0, ready=ready) == {"up": 0 if ready else 1, "why": ""}


def test_readiness_of_what_was_there_before_does_not_count(api: Api) -> None:
    api.says("inferenceservices", NAME, one("Ready", "True"))
    later(0.1, lambda: api.says("inferenceservices", NAME, one("Ready", "Unknown")))
    assert told("kserve", 0, ready=True, patience=4)["why"] == "0 of 1 replicas were up after 4 s"


def test_with_replicas_asked_for_readiness_alone_is_not_enough(api: Api) -> None:
    api.says("inferenceservices", NAME, one("Ready", "True"))
    assert told("kserve", 1, ready=True, patience=4)["why"] == "0 of 1 replicas were up after 4 s"


def test_without_a_controller_patience_ends_with_a_clear_word(api: Api) -> None:
    why = told("kserve", 0, patience=1)["why"]
    assert why.startswith(
        "0 of 1 replicas were up after 1 s, and nothing is said of the object serve-m: does its contro"
    )


def test_an_api_that_is_away_is_asked_again(api: Api) -> None:
    api.denied.add("deployments")
    api.pods.append(pod(STARTED))
    later(0.3, api.denied.clear)
    assert told() == {"up": 1, "why": ""}

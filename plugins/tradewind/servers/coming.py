"""Whether a server's pods come up, or why they do not. Pure: from what Kubernetes says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tradewind.pods.ending import PATIENCE, state_of, stuck, unschedulable
from tradewind.servers import CONTAINERS

Object = Mapping[str, Any]


def up(pod: Object, *, ready: bool) -> bool:
    """Whether a replica is there.

    Args:
        pod: of the server.
        ready: it must answer; else it must run, for the endpoint has nothing yet that it could answer with.
    """
    container = state_of(pod, _server(pod))
    return bool(container.get("ready") if ready else container.get("started")) and not _leaving(pod)


def trouble(pod: Object, events: Sequence[Object], now: datetime) -> str | None:
    """Why a pod does not come up and will not by itself; completes the sentence "its pod … "."""
    if _leaving(pod):
        return None
    if (crash := _crashing(pod)) is not None:
        return crash
    waited = (now - _moment(pod["metadata"]["creationTimestamp"])).total_seconds()
    if (why := unschedulable(pod)) is not None:
        return f"finds no node: {why}" if waited >= PATIENCE else None
    ending = stuck(pod, events, scheduled=waited, container=_server(pod))
    return ending.how if ending else None


def _crashing(pod: Object) -> str | None:
    container = state_of(pod, _server(pod))
    if (container.get("state", {}).get("waiting") or {}).get("reason") != "CrashLoopBackOff":
        return None
    last = container.get("lastState", {}).get("terminated") or {}
    said = _last_words(str(last.get("message") or ""))
    why = (
        "was killed for its memory" if last.get("reason") == "OOMKilled" else f"ends with exit code {last['exitCode']}"
    )
    return f"starts again and again: it {why}" + (f": {said}" if said else "")


def _last_words(log: str) -> str:
    """The last line that begins at the margin: of a traceback, and of errors of many lines, the one that says what."""
    found = [line for line in log.splitlines() if re.match(r"\S.*[A-Za-z]", line)]
    return found[-1][:500] if found else ""


def _server(pod: Object) -> str:
    """Its container's name; a mesh and KServe put others beside it."""
    return next(str(one["name"]) for one in pod["spec"]["containers"] if one["name"] in CONTAINERS)


def _leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)

"""`replay`: recent captures go through both arms of a canary, where traffic is too little to judge it by.

They are sent to the server itself, so that errors, latency and answers are those of the real arms; what is
replayed is counted and not captured again. A server of the endpoint's own is asked by its URL, which also wakes one
that has no replica when nobody asks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.types as pt

from tradewind_runtime import endpoints
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.deploy import SERVING_TOKEN, ReplayConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.endpoints import EndpointGeneration, ReplicaStatus
from tradewind_runtime.judging import alive
from tradewind_runtime.steps.ingest_capture import read_segment

#: Requests by each arm; more rows go by several in one.
REQUESTS = 500
#: Seconds until the replicas have told of what they were sent.
PATIENCE = 15.0
#: Seconds until a server that sleeps has started and loaded its models.
WAKING = 120.0
#: What a server answers to who may not ask.
REFUSALS = frozenset({401, 403})


@dataclass
class _Arm:
    sent: int = 0
    failed: int = 0
    unanswered: int = 0


def run(context: StepContext) -> StepOutcome:
    """Send the newest captured rows to stable and canary.

    Raises:
        StepError: TW569 where no replica serves the generation, none answers, or it wants a token that is not here.
    """
    config, documents = context.request.configured(ReplayConfig), context.lake.documents
    generation = endpoints.latest(documents, config.endpoint)
    if generation is None:
        context.log.info("%s serves nothing yet: nothing to replay", config.endpoint)
        return StepOutcome(metrics={"rows": 0})
    with _client(config.server) as client:
        return _replay(context, config, generation, client)


def _replay(
    context: StepContext, config: ReplayConfig, generation: EndpointGeneration, client: httpx.Client
) -> StepOutcome:
    replicas = _live(context, generation)
    if not replicas and config.server:
        replicas = _woken(context, generation, client, config.server)
    if generation.canary is None:
        context.log.info("%s has no canary now: nothing to replay", config.endpoint)
        return StepOutcome(metrics={"rows": 0})
    if not replicas:
        raise StepError(
            "TW569",
            f"no live replica serves generation {generation.number} of {config.endpoint!r}",
            fix="see that the model server runs and reads this lake",
        )
    before = _seen(replicas, generation)
    parts = list(_recent(context, config.endpoint, config.requests))
    rows = sum(part.num_rows for part in parts)
    arms = {"stable": _Arm(), "canary": _Arm()}
    size = max(1, -(-rows // REQUESTS))
    number = 0
    for part in parts:
        for start in range(0, part.num_rows, size):
            piece, address = part.slice(start, size), config.server or replicas[number % len(replicas)].address
            number += 1
            for name, arm in arms.items():
                _send(client, f"{address}/v2/models/{config.endpoint}/infer", name, piece, arm)
    if rows and all(arm.unanswered == arm.sent for arm in arms.values()):
        raise StepError(
            "TW569", f"nothing that was replayed was answered, by {config.server or replicas[0].address}",
            fix="can the replay reach it? It runs where runners: {replay: …} of the profile says",
        )  # fmt: skip
    _told(context, generation, before, rows)
    metrics: dict[str, float] = {"rows": rows}
    for name, arm in arms.items():
        metrics |= {f"{name}_sent": arm.sent, f"{name}_failed": arm.failed}
    context.log.info("%s: %d captured rows replayed through both arms", config.endpoint, rows)
    return StepOutcome(metrics=metrics)


def _client(server: str | None) -> httpx.Client:
    # A connection for each request: Kubernetes shares out connections among a service's pods, not requests.
    limits = httpx.Limits(max_keepalive_connections=0) if server else httpx.Limits()
    return httpx.Client(timeout=30, headers=_headers(), trust_env=False, limits=limits)


def _headers() -> dict[str, str]:
    token = os.environ.get(SERVING_TOKEN)
    return {"x-tradewind-replay": "1"} | ({"authorization": f"Bearer {token}"} if token else {})


def _live(context: StepContext, generation: EndpointGeneration) -> list[ReplicaStatus]:
    now = datetime.now(UTC)
    return [
        status
        for status in endpoints.statuses(context.lake.documents, generation.endpoint)
        if alive(status, now) and status.generation == generation.number
    ]


def _woken(
    context: StepContext, generation: EndpointGeneration, client: httpx.Client, server: str
) -> list[ReplicaStatus]:
    """The replicas that asking has started."""
    context.log.info("no replica is alive: asking %s, which starts one", server)
    end = time.monotonic() + WAKING
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            client.get(f"{server}/v2/health/ready")
        if found := _live(context, generation):
            return found
        time.sleep(0.5)
    return []


def _seen(replicas: list[ReplicaStatus], generation: EndpointGeneration) -> int:
    return sum(endpoints.merged(replicas, digest).rows for digest in generation.digests)


def _recent(context: StepContext, endpoint: str, rows: int) -> Iterator[pa.Table]:
    """The newest segments of all replicas, until there are rows enough."""
    found = []
    for replica in context.lake.documents.folders(f"capture/{endpoint}"):
        wanted = rows
        for path in reversed(list(context.lake.documents.names(f"capture/{endpoint}/{replica}"))):
            content = context.lake.documents.get(path)
            if content is None:
                continue
            part = read_segment(content)
            found.append(part)
            wanted -= part.num_rows
            if wanted <= 0:
                break
    found.sort(key=lambda part: part.column("_time")[-1].as_py(), reverse=True)
    for part in found:
        yield part.slice(max(0, part.num_rows - rows))
        rows -= part.num_rows
        if rows <= 0:
            return


def _send(client: httpx.Client, url: str, name: str, piece: pa.Table, arm: _Arm) -> None:
    inputs = [_tensor(column, piece.column(column)) for column in piece.column_names if not column.startswith("_")]
    arm.sent += piece.num_rows
    try:
        answer = client.post(url, json={"inputs": inputs}, headers={"x-tradewind-arm": name})
    except httpx.TransportError:
        arm.failed += piece.num_rows
        arm.unanswered += piece.num_rows
        return
    if answer.status_code in REFUSALS:
        raise StepError(
            "TW569", f"the server wants a token that the replay does not have ({answer.status_code} from {url})",
            retryable=False,
            fix="runners: {replay: kubernetes} with serving.own.token in the profile; or "
            f"{SERVING_TOKEN} in the environment of Airflow's workers",
        )  # fmt: skip
    if answer.status_code != 200 or answer.json()["parameters"]["arm"] != name:
        arm.failed += piece.num_rows


def _tensor(name: str, values: pa.ChunkedArray) -> dict[str, Any]:
    kind = values.type
    datatype = (
        "BOOL" if pt.is_boolean(kind) else "INT64" if pt.is_integer(kind) else "BYTES" if pt.is_string(kind) else "FP64"
    )
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values.to_pylist()}


def _told(context: StepContext, generation: EndpointGeneration, before: int, rows: int) -> None:
    """Wait until the statuses hold what was sent: the judge reads only those."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and _seen(_live(context, generation), generation) < before + 2 * rows:
        time.sleep(0.2)

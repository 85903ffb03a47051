"""What an endpoint should serve, and what its replicas say they do: numbered documents in the lake.

A generation is created once and never changed; the next one is created only by whoever knew the last (`moves`).
So a rollout, a rollback and a person at the command line can never both win, and a retry adopts its own.
`sketch` counts latencies and answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from tradewind_runtime.contract.base import Frozen, Slug
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints.sketch import Sketch

#: The digest of an artefact.
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ArmName = Literal["stable", "canary", "shadow"]


class EndpointGeneration(Frozen):
    """What an endpoint should serve. `replaced` is what a rollback goes back to."""

    endpoint: Slug
    number: int = Field(ge=1)
    stable: Digest
    canary: Digest | None = None
    weight: int = Field(0, ge=0, le=99, description="Percent of requests that the canary answers.")
    shadow: Digest | None = Field(None, description="Gets a copy of each request; its answers are only counted.")
    replaced: Digest | None = Field(None, description="The stable one before this one.")
    capture: bool = Field(True, description="Whether requests and answers are kept.")
    model_versions: dict[str, str] = Field(default_factory=dict, description="Digest → version in the registry.")
    created: AwareDatetime
    by: str
    reason: str

    @model_validator(mode="after")
    def _canary_has_weight(self) -> EndpointGeneration:
        if (self.canary is None) != (self.weight == 0):
            msg = "a canary has a weight from 1 to 99, and there is no weight without a canary"
            raise ValueError(msg)
        return self

    @property
    def digests(self) -> tuple[str, ...]:
        """All that a replica has to load."""
        return tuple(dict.fromkeys(d for d in (self.stable, self.canary, self.shadow) if d is not None))


class ArmStatus(Frozen):
    """What one digest did, on one replica, since the generation began. A request may hold many rows."""

    requests: int = 0
    rows: int = Field(0, description="Rows asked for, those of failing requests included.")
    errors: int = Field(0, description="Rows of requests that failed by the arm's own fault.")
    latency: Sketch = Field(Sketch(), description="Seconds a request.")
    answers: Sketch = Sketch()

    @property
    def error_rate(self) -> float:
        """Errors, as a share of the rows asked for."""
        return self.errors / self.rows if self.rows else 0.0

    def merged(self, other: ArmStatus) -> ArmStatus:
        """Two replicas' together."""
        return ArmStatus(
            requests=self.requests + other.requests,
            rows=self.rows + other.rows,
            errors=self.errors + other.errors,
            latency=self.latency.merged(other.latency),
            answers=self.answers.merged(other.answers),
        )


class ReplicaStatus(Frozen):
    """What one replica of a server says of one endpoint. The replica is its only writer."""

    endpoint: Slug
    replica: str
    generation: int = Field(ge=0, description="The generation that it serves; counts begin with it. 0: none.")
    observed: AwareDatetime | None = Field(None, description="When it began to serve it.")
    refused: int | None = Field(None, description="A generation that it can never serve, such as a tampered one.")
    written: AwareDatetime
    stopped: bool = Field(False, description="It has ended, and said so.")
    address: str = ""
    arms: dict[str, ArmStatus] = Field(default_factory=dict, description="By digest.")
    captured: int = 0
    dropped: int = Field(0, description="Rows that were answered and not captured.")
    closed: AwareDatetime | None = Field(None, description="What was answered before is in closed segments.")
    problems: tuple[str, ...] = ()


def generation_path(name: str, number: int) -> str:
    """Where a generation lies, below the lake."""
    return f"endpoints/{name}/generations/{number:08d}.json"


def status_path(name: str, replica: str) -> str:
    """Where a replica's status lies, below the lake."""
    return f"endpoints/{name}/status/{replica}.json"


def endpoints(documents: Documents) -> list[str]:
    """Names of all endpoints that have a generation."""
    return [name for name in documents.folders("endpoints") if documents.get(generation_path(name, 1)) is not None]


def generations(documents: Documents, name: str) -> Iterator[EndpointGeneration]:
    """All generations, the newest first."""
    for path in sorted(documents.names(f"endpoints/{name}/generations"), reverse=True):
        found = documents.get_model(path, EndpointGeneration)
        if found is not None:
            yield found


def latest(documents: Documents, name: str, after: int | None = None) -> EndpointGeneration | None:
    """The newest generation, or None where there is none (or none after a known number).

    Numbers have no gaps, so one who knows the last asks only for the next: no listing.
    """
    if after is None:
        return next(generations(documents, name), None)
    found, number = None, after + 1
    while (document := documents.get_model(generation_path(name, number), EndpointGeneration)) is not None:
        found, number = document, number + 1
    return found


def statuses(documents: Documents, name: str) -> list[ReplicaStatus]:
    """What every replica last said; `written` tells which are alive."""
    found = (documents.get_model(path, ReplicaStatus) for path in documents.names(f"endpoints/{name}/status"))
    return [status for status in found if status is not None]


def served(documents: Documents, name: str, digest: str) -> bool:
    """Whether it ever was the stable one: what was rolled out once is not rolled out again by a cached run."""
    return any(generation.stable == digest for generation in generations(documents, name))


def in_canary(generation: EndpointGeneration, key: str) -> bool:
    """Whether a request with this key goes to the canary.

    The same key stays where it is on every replica, and who is in at 10 % is still in at 50 %.
    """
    if generation.canary is None:
        return False
    point = int.from_bytes(hashlib.sha256(f"{generation.canary}:{key}".encode()).digest()[:8]) / 2**64
    return point * 100 < generation.weight


def merged(found: Iterable[ReplicaStatus], digest: str) -> ArmStatus:
    """One arm over all replicas."""
    total = ArmStatus()
    for status in found:
        total = total.merged(status.arms.get(digest, ArmStatus()))
    return total

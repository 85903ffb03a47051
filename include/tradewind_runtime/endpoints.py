"""What an endpoint should serve, and what its replicas say they do: numbered documents in the lake.

A generation is created once and never changed; the next one is created only by whoever knew the last.
So a rollout, a rollback and a person at the command line can never both win, and a retry adopts its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from tradewind_runtime.contract.base import Frozen, Slug
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents

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


class Sketch(Frozen):
    """Counts in buckets that grow by 2 %: quantiles to 1 %, exact to merge, the same for every replica.

    Buckets do not depend on the data, so answers of two arms (probabilities or amounts) compare directly.
    """

    counts: dict[int, int] = Field(default_factory=dict)

    @staticmethod
    def bucket(value: float) -> int:
        """Buckets are in the order of their values; 0 holds what is closer to zero than 1e-9."""
        size = abs(value)
        if size < _SMALLEST:
            return 0
        index = min(1 + int(math.log(size / _SMALLEST) / _LOG_GROWTH), _LAST)
        return index if value > 0 else -index

    @staticmethod
    def middle(bucket: int) -> float:
        """The value that a bucket stands for."""
        return math.copysign(_SMALLEST * math.exp((abs(bucket) - 0.5) * _LOG_GROWTH), bucket) if bucket else 0.0

    @property
    def total(self) -> int:
        """How many values it holds."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The value below which a share of all lies, or None where there are none."""
        rank, seen = share * self.total, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return self.middle(bucket)
        return None

    def distance(self, other: Sketch) -> float:
        """Kolmogorov and Smirnov's: the largest difference between the two distributions, 0 to 1."""
        if not self.total or not other.total:
            return 0.0
        mine = theirs = 0
        largest = 0.0
        for bucket in sorted(self.counts.keys() | other.counts.keys()):
            mine += self.counts.get(bucket, 0)
            theirs += other.counts.get(bucket, 0)
            largest = max(largest, abs(mine / self.total - theirs / other.total))
        return largest

    def merged(self, other: Sketch) -> Sketch:
        """Both together."""
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return Sketch(counts=counts)


_SMALLEST, _LOG_GROWTH, _LAST = 1e-9, math.log(1.02), 3000


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


# Moving on --------------------------------------------------------------------------------------------------------


def advance(documents: Documents, name: str, expected: int, **fields: Any) -> EndpointGeneration:
    """Create generation `expected + 1`, which only one writer can.

    A retry that finds its own generation there (same fields) adopts it.

    Args:
        documents: of the lake.
        name: the endpoint's.
        expected: number of the generation that the caller has seen; 0 where there was none.
        fields: of the EndpointGeneration, `by` and `reason` among them.

    Raises:
        StepError: TW567 where the endpoint has moved on in between.
    """
    wanted = EndpointGeneration(endpoint=name, number=expected + 1, created=datetime.now(UTC), **fields)
    if expected and documents.get(generation_path(name, expected)) is None:
        raise _moved(name, expected, latest(documents, name))
    if documents.create_model(generation_path(name, wanted.number), wanted):
        return wanted
    there = documents.get_model(generation_path(name, wanted.number), EndpointGeneration)
    if there is not None and there.model_copy(update={"created": wanted.created}) == wanted:
        return there
    raise _moved(name, expected, latest(documents, name))


def promote(
    documents: Documents,
    name: str,
    digest: str,
    *,
    expected: int,
    by: str,
    reason: str,
    weight: int = 100,
    version: str | None = None,
    capture: bool | None = None,
) -> EndpointGeneration:
    """Give a digest `weight` percent of the requests; 100 makes it the stable one.

    The first version of an endpoint has nothing to compare with and is stable at once, whatever the weight.
    `capture` stays as it is where it is not said.
    """
    now = _known(documents, name, expected) if expected else None
    kept = capture if capture is not None else now is None or now.capture
    versions = _versions(now, {digest: version} if version else {})
    if now is None or weight >= 100 or now.stable == digest:
        replaced = None if now is None else now.replaced if now.stable == digest else now.stable
        keep = {d: v for d, v in versions.items() if d in (digest, replaced)}
        return advance(
            documents,
            name,
            expected,
            stable=digest,
            replaced=replaced,
            model_versions=keep,
            shadow=now.shadow if now else None,
            capture=kept,
            by=by,
            reason=reason,
        )
    return advance(
        documents,
        name,
        expected,
        stable=now.stable,
        canary=digest,
        weight=weight,
        shadow=now.shadow,
        replaced=now.replaced,
        capture=kept,
        model_versions=versions,
        by=by,
        reason=reason,
    )


def abort_canary(documents: Documents, name: str, *, expected: int, by: str, reason: str) -> EndpointGeneration:
    """Send all requests to the stable one again."""
    now = _known(documents, name, expected)
    versions = {d: v for d, v in now.model_versions.items() if d != now.canary}
    return advance(
        documents,
        name,
        expected,
        stable=now.stable,
        replaced=now.replaced,
        shadow=now.shadow,
        capture=now.capture,
        model_versions=versions,
        by=by,
        reason=reason,
    )


def rollback(
    documents: Documents, name: str, *, expected: int, by: str, reason: str, to: str | None = None
) -> EndpointGeneration:
    """Make the one before the stable one stable again (or `to`, which must have been stable once), at once.

    Raises:
        StepError: TW562 where there is nothing to go back to.
    """
    now = _known(documents, name, expected)
    target = to or now.replaced
    before = [g for g in generations(documents, name) if g.number <= expected and g.stable == target]
    if target is None or not before:
        raise StepError(
            "TW562",
            f"endpoint {name!r} has no earlier version to go back to",
            retryable=False,
            got=to,
            expected="a digest that this endpoint has served as stable",
        )
    versions = {**before[0].model_versions, **now.model_versions}
    replaced = before[0].replaced if target != now.stable else now.replaced
    keep = {d: v for d, v in versions.items() if d in (target, replaced)}
    return advance(
        documents,
        name,
        expected,
        stable=target,
        replaced=replaced,
        capture=now.capture,
        model_versions=keep,
        by=by,
        reason=reason,
    )


def _known(documents: Documents, name: str, expected: int) -> EndpointGeneration:
    found = documents.get_model(generation_path(name, expected), EndpointGeneration)
    if found is None:
        raise _moved(name, expected, latest(documents, name))
    return found


def _versions(now: EndpointGeneration | None, new: Mapping[str, str]) -> dict[str, str]:
    return {**(now.model_versions if now else {}), **new}


def _moved(name: str, expected: int, now: EndpointGeneration | None) -> StepError:
    return StepError(
        "TW567",
        f"endpoint {name!r} is not at generation {expected}",
        retryable=False,
        got=None if now is None else f"generation {now.number}, by {now.by}: {now.reason}",
        fix="look at what it serves now (tradewind deploy status), and decide again",
    )


# Splitting --------------------------------------------------------------------------------------------------------


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

"""What an endpoint serves next: each move creates the generation after the one that its caller has seen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import EndpointGeneration, generation_path, generations, latest


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

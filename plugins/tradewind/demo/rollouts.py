"""How versions came to be served, read from the endpoint's generations. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tradewind_runtime.endpoints import EndpointGeneration

FULL = 100  # percent


@dataclass(frozen=True)
class Rollout:
    """What one run did to the endpoint."""

    by: str  # the DAG and the run
    digest: str
    shares: tuple[int, ...]  # percent of the requests, one after the other
    back: str = ""  # why it went back, where it did

    @property
    def finished(self) -> bool:
        """Whether its version answered everything in the end."""
        return not self.back and self.shares[-1] == FULL

    def went_by(self, stages: Sequence[int]) -> bool:
        """Whether it went through these shares, to the end or until it went back."""
        return self.shares == tuple(stages) if not self.back else self.shares == tuple(stages[: len(self.shares)])


def rollouts(generations: Iterable[EndpointGeneration]) -> list[Rollout]:
    """One for each run that made generations, the oldest first."""
    ordered = sorted(generations, key=lambda one: one.number)
    return [_rollout(by, list(made)) for by, made in groupby(ordered, key=lambda one: one.by)]


def _rollout(by: str, made: Sequence[EndpointGeneration]) -> Rollout:
    digest = made[0].canary or made[0].stable
    shares = [FULL if one.stable == digest else one.weight for one in made if digest in (one.stable, one.canary)]
    last = made[-1]
    back = last.reason if digest not in (last.stable, last.canary) else ""
    return Rollout(by, digest, tuple(shares), back)


def spelt(generation: EndpointGeneration) -> str:
    """Who answers, in short."""
    canary = f"+{generation.canary[:8]} at {generation.weight} %" if generation.canary else ""
    return generation.stable[:8] + canary

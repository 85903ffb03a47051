"""What each arm did since the generation began: counted under a lock, handed out as frozen status."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tradewind_runtime.endpoints import ArmStatus
from tradewind_runtime.endpoints.sketch import Sketch


@dataclass
class _Arm:
    requests: int = 0
    rows: int = 0
    errors: int = 0
    latency: Counter[int] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)


class Counters:
    """One generation's counts, by digest.

    Args:
        before: what this replica had counted of the same generation before it was started again.
    """

    def __init__(self, before: Mapping[str, ArmStatus] | None = None) -> None:
        self._lock = threading.Lock()
        self._arms = {
            digest: _Arm(arm.requests, arm.rows, arm.errors, Counter(arm.latency.counts), Counter(arm.answers.counts))
            for digest, arm in (before or {}).items()
        }

    def answered(self, digest: str, seconds: float, answers: Iterable[float]) -> None:
        """A request that the arm answered, with one number for each row."""
        buckets = [Sketch.bucket(answer) for answer in answers]
        with self._lock:
            arm = self._arm(digest)
            arm.requests += 1
            arm.rows += len(buckets)
            arm.latency[Sketch.bucket(seconds)] += 1
            arm.answers.update(buckets)

    def failed(self, digest: str, rows: int) -> None:
        """A request that the arm could not answer, by its own fault."""
        with self._lock:
            arm = self._arm(digest)
            arm.requests += 1
            arm.rows += rows
            arm.errors += rows

    def status(self) -> dict[str, ArmStatus]:
        """All arms, now."""
        with self._lock:
            return {
                digest: ArmStatus(
                    requests=arm.requests,
                    rows=arm.rows,
                    errors=arm.errors,
                    latency=Sketch(counts=dict(arm.latency)),
                    answers=Sketch(counts=dict(arm.answers)),
                )
                for digest, arm in self._arms.items()
            }

    def _arm(self, digest: str) -> _Arm:
        return self._arms.setdefault(digest, _Arm())

"""Quantiles of a stream of numbers, in little room and mergeable."""

from __future__ import annotations

import math

from pydantic import Field

from tradewind_runtime.contract.base import Frozen

_SMALLEST, _LOG_GROWTH, _LAST = 1e-9, math.log(1.02), 3000


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

"""The population stability index of each feature, from exact counts of a stream: no sample, flat memory.

    psi = sum over cells of (q - p) * ln(q / p)

`p` is a cell's share at training, `q` its share now. Shares below 1e-4 count as that much. With few rows, `q` is
drawn towards `p` by one imagined row a cell, so that an empty cell by chance is not taken for drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.drift.profile import FeatureProfile, Profile

FLOOR = 1e-4
THREADS = 2
_ROWS = 65_536  # a column of so many numbers stays in the processor's cache


class FeatureDrift(Frozen):
    """One feature: how far it is from training, and how many rows fell into each of its cells."""

    name: str
    psi: float
    counts: tuple[int, ...]


class Comparison(Frozen):
    """What was compared, feature by feature."""

    rows: int
    features: tuple[FeatureDrift, ...]

    def drifting(self, psi: float) -> tuple[str, ...]:
        """Features above an index, the worst first."""
        return tuple(f.name for f in sorted(self.features, key=lambda f: (-f.psi, f.name)) if f.psi > psi)

    def share(self, psi: float) -> float:
        """The share of features above an index."""
        return len(self.drifting(psi)) / len(self.features) if self.features else 0.0


def compare(profile: Profile, batches: Iterable[pa.RecordBatch], *, threads: int = THREADS) -> Comparison:
    """How far a stream of rows is from a profile. The order of rows and the size of batches do not matter.

    Raises:
        StepError: TW581 where a feature is missing, or is a text where it was a number.
    """
    counts: list[npt.NDArray[np.int64]] = [np.zeros(len(f.counts), dtype=np.int64) for f in profile.features]
    rows = 0
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            rows += batch.num_rows
            for start in range(0, batch.num_rows, _ROWS):
                count = partial(_count, batch.slice(start, _ROWS))
                counts = [total + new for total, new in zip(counts, pool.map(count, profile.features), strict=True)]
    return Comparison(
        rows=rows,
        features=tuple(
            FeatureDrift(name=feature.name, psi=index(feature.counts, now.tolist()), counts=tuple(now.tolist()))
            for feature, now in zip(profile.features, counts, strict=True)
        ),
    )


def index(reference: Sequence[int], now: Sequence[int]) -> float:
    """The population stability index of two counts of the same cells; 0 where either is empty."""
    before, after = np.asarray(reference, dtype=np.float64), np.asarray(now, dtype=np.float64)
    if not before.sum() or not after.sum():
        return 0.0
    p = np.maximum(before / before.sum(), FLOOR)
    q = np.maximum((after + len(p) * p) / (after.sum() + len(p)), FLOOR)
    return float(np.sum((q - p) * np.log(q / p)))


def _count(batch: pa.RecordBatch, feature: FeatureProfile) -> npt.NDArray[np.int64]:
    at = batch.schema.get_field_index(feature.name)
    if at < 0:
        raise StepError(
            "TW581",
            f"the rows have no column {feature.name!r}, which the model learnt from",
            retryable=False,
            got=batch.schema.names,
            fix="see what the clients send",
        )
    return feature.cells(batch.column(at))

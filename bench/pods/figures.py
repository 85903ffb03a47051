"""What is made of the raw times. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, the nearest that was measured."""
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[min(len(ordered) - 1, -(-len(ordered) * 95 // 100) - 1)], 3),
    }


def phases(moments: Mapping[str, float], order: Sequence[str]) -> dict[str, float]:
    """Seconds from each moment to the next, by the name of the later one.

    Args:
        moments: by name.
        order: of their names; one that was not seen counts with the next.
    """
    there = [name for name in order if name in moments]
    return {name: moments[name] - moments[before] for before, name in pairwise(there)}


def shares(runs: Sequence[Mapping[str, float]], order: Sequence[str]) -> dict[str, dict[str, float]]:
    """Each phase's spread over many runs."""
    taken = [phases(run, order) for run in runs]
    return {name: spread([one[name] for one in taken]) for name in order[1:] if all(name in one for one in taken)}

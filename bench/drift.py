"""Drift on a million rows of twenty columns: Tradewind's exact, streamed comparison beside Evidently's own, in one run.

`python -m bench.drift [--rows 1000000] [--columns 20] [--repeat 5]`. Results go to bench/results/drift.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from bench.results import write

os.environ["DO_NOT_TRACK"] = "1"
GOAL = 1.0  # seconds
EVERY = 5  # one column in so many is a text; one in so many of the others moves


def table(rows: int, columns: int, seed: int, *, moved: bool) -> pa.Table:
    """Numbers and texts; with `moved`, some of them from other distributions."""
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for number in range(columns):
        shift = 0.5 if moved and number % EVERY == 0 else 0.0
        if number % EVERY == EVERY - 1:
            made[f"c{number}"] = pa.array(list("abcdefgh")).take(pa.array(rng.integers(0, 8, rows)))
        else:
            made[f"c{number}"] = rng.normal(shift, size=rows)
    return pa.table(made)


@dataclass
class Times:
    """Seconds of each time: on the clock, which a busy machine stretches, and of the processor."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def timed(work: Callable[[], Any], repeat: int) -> tuple[Times, Any]:
    """How long it took, each time, and what the last one gave."""
    times, found = Times(), None
    for _ in range(repeat):
        began, used = time.perf_counter(), time.process_time()
        found = work()
        times.wall.append(round(time.perf_counter() - began, 4))
        times.cpu.append(round(time.process_time() - used, 4))
    return times, found


def peak() -> int:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def ours(before: pa.Table, now: pa.Table, repeat: int) -> dict[str, Any]:
    """Profile once, as training does; compare, as a monitor does."""
    from tradewind_runtime import drift

    learning, known = timed(lambda: drift.profile(before, before.column_names), 1)
    comparing, found = timed(lambda: drift.compare(known, now.to_batches()), repeat)
    return {"profile": asdict(learning), "compare": asdict(comparing), "drifting": sorted(found.drifting(0.1)),
            "peak_mib": peak()}  # fmt: skip


def theirs(before: pa.Table, now: pa.Table) -> dict[str, Any]:
    """Evidently's own drift on the same rows, by the same index, once: it takes a while."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    texts = [field.name for field in before.schema if pa.types.is_string(field.type)]
    numbers = [name for name in before.column_names if name not in texts]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    frames = before.to_pandas(), now.to_pandas()

    def run() -> set[str]:
        then, later = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
        preset = DataDriftPreset(num_method="psi", cat_method="psi", num_threshold=0.1, cat_threshold=0.1)
        result = Report([preset]).run(later, then).dict()
        values = {m["config"]["column"]: m["value"] for m in result["metrics"] if "column" in m["config"]}
        return {name for name, value in values.items() if float(value) > 0.1}

    times, drifting = timed(run, 1)
    return {
        "compare": asdict(times),
        "drifting": sorted(drifting),
        "peak_mib": peak(),
        "version": version("evidently"),
    }


def main() -> int:
    """Run both, say which drifts, keep the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    before, now = (table(options.rows, options.columns, seed, moved=seed > 1) for seed in (1, 2))
    mine = ours(before, now, options.repeat)
    print(f"tradewind: {mine['compare']} s, {mine['peak_mib']} MiB", flush=True)
    other = theirs(before, now)
    print(f"evidently: {other['compare']} s, {other['peak_mib']} MiB", flush=True)
    slowest = max(mine["compare"]["wall"])
    good = slowest <= GOAL and mine["drifting"] == other["drifting"]
    body = {
        "ok": good, "goal_seconds": GOAL, "rows": options.rows, "columns": options.columns,
        "tradewind": mine, "evidently": other,
        "cpu_ratio": round(min(other["compare"]["cpu"]) / max(mine["compare"]["cpu"]), 1),
    }  # fmt: skip
    write("drift", body)
    print(f"slowest of ours {slowest} s (goal {GOAL} s); evidently uses {body['cpu_ratio']} times the processor time")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

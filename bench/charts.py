"""How time and memory grow with the rows, drawn from what was kept: `python -m bench.charts`.

One picture a case, docs/images/growth-NAME-CASE.svg, of each bench/results/*.json that holds a growth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import results

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLOURS = {
    "ours": "#0b6fa4", "bare": "#8a8a8a", "alone": "#8a8a8a", "by_hand": "#c9843b", "spark": "#c9843b",
    "connect": "#7a5ba6",
}  # fmt: skip
WORDS = {
    "ours": "Tradewind", "bare": "bare", "alone": "Great Expectations alone", "by_hand": "the same, and written",
    "spark": "Spark", "connect": "Kafka Connect",
}  # fmt: skip
MILLION = 1_000_000

Grown = Mapping[int, Mapping[str, Sequence[Mapping[str, Any]]]]  # rows → who → what each run took


def draw() -> list[Path]:
    """Every growth that was measured; the pictures' paths."""
    return [_drawn(name, case, grown) for name, case, grown in found()]


def found() -> Iterator[tuple[str, str, Grown]]:
    """Benchmark, case, and what was measured."""
    for path in sorted(Path(results.__file__).parent.glob("*.json")):
        cases = json.loads(path.read_text()).get("cases", {})
        if path.stem == "ingest":
            cases = {"json": cases["growing"]} if "growing" in cases else {}
        elif not path.stem.endswith("_growth"):
            continue
        for case, by_rows in cases.items():
            yield path.stem.removesuffix("_growth"), case, {int(rows): one["raw"] for rows, one in by_rows.items()}


def series(grown: Grown, who: str) -> tuple[list[float], list[float], list[float]]:
    """Millions of rows, the quickest seconds of each, and the most MiB; without those where it was left out.

    Nothing is known of a Java's memory.
    """
    there = {rows: raw[who] for rows, raw in sorted(grown.items()) if raw.get(who)}
    return (
        [rows / MILLION for rows in there],
        [min(run["wall"] for run in runs) for runs in there.values()],
        [max(run["peak_mib"] for run in runs) for runs in there.values() if "peak_mib" in runs[0]],
    )


def _drawn(name: str, case: str, grown: Grown) -> Path:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "tradewind"  # the same figures give the same file
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    figure.suptitle(f"{name}: {case}", fontsize=11)
    seconds, memory = figure.subplots(1, 2)
    for who in sorted({who for raw in grown.values() for who in raw}, key=list(COLOURS).index):
        rows, walls, peaks = series(grown, who)
        look = {"color": COLOURS[who], "marker": "o", "label": WORDS.get(who, who)}
        seconds.plot(rows, walls, **look)
        memory.plot(rows[: len(peaks)], peaks, **look)
    for axes, title in ((seconds, "seconds"), (memory, "peak memory, MiB")):
        axes.set(xlabel="million rows", title=title, xlim=(0, None), ylim=(0, None))
        axes.title.set_fontsize(10)
        axes.grid(visible=True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    seconds.legend(frameon=False)
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / f"growth-{name}-{case}.svg"
    figure.savefig(path, metadata={"Date": None})
    return path


if __name__ == "__main__":
    for drawn in draw():
        print(drawn)

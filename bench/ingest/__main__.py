"""Kafka to table, in one run beside others: the same client, Spark's own source, Kafka Connect with Iceberg's sink.

`python -m bench.ingest [--messages 2000000] [--repeat 3] [--only json200,raw200]`. Each figure is of a process of its
own, and they take turns; the client and we, who take seconds, have thrice as many. Results go to
bench/results/ingest.json, those of `--only` among the others there. Messages are made once, by one producer, with a
fixed seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.charts import draw
from bench.ingest.peers import CLIENT, End, one
from bench.ingest.topics import CASES, Case, fill
from bench.results import among, read, write

GOALS = {"typed": 0.3, "raw": 0.5, "spark": 2.0, "memory_mb": 350, "memory_growth": 1.15, "two_processes": 1.6}
QUICK = ("bare", "ours")
#: Who is beside us, by the format: Iceberg's sink takes objects alone.
BESIDE = {"json": ("spark", "connect"), "raw": ("spark",), "avro": ()}
MILLIONS = (1, 5, 20)  # messages, of which memory and time are compared


def end_of(case: Case, count: int) -> End:
    """Where each partition ends that has its part of the messages."""
    return {str(p): (count + case.partitions - 1 - p) // case.partitions for p in range(case.partitions)}


class Process:
    """One who reads, in a process of its own."""

    def __init__(self, who: str, broker: str, case: Case, end: End, lake: str = "") -> None:
        self.rows = sum(end.values())
        self.more = who == "connect"  # whose table may have some twice; its raw result says it
        words = ["--one", who, "--broker", broker, "--case", case.name, "--end", json.dumps(dict(end)), "--lake", lake]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.ingest", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def measured(self) -> dict[str, Any]:
        """What it took, once it is done."""
        out, err = self.process.communicate()
        assert self.process.returncode == 0, err[-3000:]
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        assert found["rows"] == self.rows or (self.more and found["rows"] > self.rows), found
        return found


def measured(who: str, broker: str, case: Case, end: End) -> dict[str, Any]:
    """One alone."""
    return Process(who, broker, case, end).measured()


def compare(broker: str, case: Case, count: int, repeat: int) -> dict[str, Any]:
    """One case: the quickest of a few times of each, and how they compare."""
    fill(broker, case, count)
    end, peers = end_of(case, count), (*QUICK, *BESIDE[case.kind])
    raw: dict[str, list[dict[str, Any]]] = {who: [] for who in peers}
    for turn in range(3 * repeat):
        for who in peers if turn < repeat else QUICK:
            raw[who].append(measured(who, broker, case, end))
    best = {who: min(run["wall"] for run in runs) for who, runs in raw.items()}
    stages = measured("stages", broker, case, end)
    body: dict[str, Any] = {
        "format": case.kind, "bytes": case.size, "partitions": case.partitions, "messages": count, "raw": raw,
        "of_bare": round(best["bare"] / best["ours"], 3),
        "messages_a_second": {who: round(count / seconds) for who, seconds in best.items()},
        "cpu_us_a_message": {
            who: round(min(run["cpu"] for run in raw[who]) / count * 1e6, 2) for who in QUICK
        },
        "stages_us_a_message": stages["stages_us"],
        "peak_mib": max(run["peak_mib"] for run in raw["ours"]),
        "times": {who: round(best[who] / best["ours"], 2) for who in BESIDE[case.kind]},
    }  # fmt: skip
    return _shown(case.name, body)


def grow(broker: str, repeat: int, unit: int) -> dict[str, Any]:
    """One topic, up to several ends: time and memory of each; whoever has a Java is left out of the last, for time."""
    case = CASES["growing"]
    fill(broker, case, MILLIONS[-1] * unit)
    found: dict[str, Any] = {}
    for million in MILLIONS:
        count = million * unit
        last = million == MILLIONS[-1]
        times = dict.fromkeys(QUICK, 1 if last else repeat) | dict.fromkeys(() if last else BESIDE[case.kind], 1)
        raw = {who: [measured(who, broker, case, {"0": count}) for _ in range(n)] for who, n in times.items()}
        found[str(count)] = {
            "wall": {who: min(run["wall"] for run in runs) for who, runs in raw.items()},
            "peak_mib": max(run["peak_mib"] for run in raw["ours"]),
            "raw": raw,
        }
        _shown(f"growing {count}", found[str(count)])
    return found


def two(broker: str, count: int, repeat: int) -> dict[str, Any]:
    """Two processes, each with a partition of one topic, into one table, beside one that reads both: pair by pair."""
    case = CASES["json200x2"]
    fill(broker, case, count)
    end = end_of(case, count)
    walls: dict[str, list[float]] = {"one": [], "two": []}
    for _ in range(3 * repeat):
        walls["one"].append(_wall([end], broker, case))
        walls["two"].append(_wall([{p: last} for p, last in end.items()], broker, case))
    times = median(one / two for one, two in zip(*walls.values(), strict=True))
    return _shown("two", {"messages": count, "walls": walls, "times_one": round(times, 2)})


def _wall(parts: list[End], broker: str, case: Case) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        began = time.perf_counter()
        at_once = [Process("ours", broker, case, end, (Path(folder) / "lake").as_uri()) for end in parts]
        for process in at_once:
            process.measured()
        return round(time.perf_counter() - began, 3)


def _shown(name: str, body: dict[str, Any]) -> dict[str, Any]:
    print(f"{name}: {json.dumps({key: value for key, value in body.items() if key != 'raw'})[:1000]}", flush=True)
    return body


def _good(found: dict[str, Any]) -> bool:
    """Whether every goal is reached by what was measured."""
    cases = [body for name, body in found.items() if name not in ("growing", "two")]
    growing = [body["peak_mib"] for body in found.get("growing", {}).values()]
    peaks = [*(case["peak_mib"] for case in cases), *growing]
    return (
        all(
            case["of_bare"] >= GOALS["raw" if case["format"] == "raw" else "typed"]
            and case["times"].get("spark", GOALS["spark"]) >= GOALS["spark"]
            for case in cases
        )
        and all(peak * 2**20 <= GOALS["memory_mb"] * 10**6 for peak in peaks)
        and max(growing, default=0) <= min(growing, default=0) * GOALS["memory_growth"]
        and found.get("two", {}).get("times_one", GOALS["two_processes"]) >= GOALS["two_processes"]
    )


def kept() -> dict[str, Any]:
    """What was measured before by the same client, with the machine, load and date of each case."""
    before = read("ingest")
    return before if before.get("client") == CLIENT else {}


def main() -> int:
    """Every case, with a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="cases, by commas")
    for word in ("one", "broker", "case", "end", "lake"):  # of a process of this benchmark's own
        parser.add_argument(f"--{word}", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        case = CASES[options.case]
        print(json.dumps(one(options.one, options.broker, case, json.loads(options.end), options.lake or None)))
        return 0
    from tradewind.dev.running import start
    from tradewind.dev.servers.kafka import Kafka

    names = options.only.split(",") if options.only else list(CASES)
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder, start(Kafka.at(Path(folder))) as running:
        broker = running.server.address
        for name in names:
            case = CASES[name]
            if name == "growing":
                found[name] = grow(broker, options.repeat, options.messages // 2)
            elif name == "json200x2":
                found["two"] = two(broker, 3 * options.messages, options.repeat)
            else:
                found[name] = compare(broker, case, int(options.messages * case.share), options.repeat)
    body = among(kept() if options.only else {}, found)
    good = _good(body["cases"])
    write("ingest", {"ok": good, "goals": GOALS, "client": CLIENT, **body})
    if "growing" in found:
        draw()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m bench.pods`: all of it, on the cluster of TEST_CLUSTER or one of its own; root and Debian's packages."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

# Before Airflow is imported, which reads it then.
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")

from bench.pods import overhead, place, plane, scale, workers
from bench.results import read, write

PARTS = ("overhead", "workers", "waiting", "scale")


def main() -> int:
    """Measure, say it, keep it; a part that is left out keeps its figures of before."""
    parser = argparse.ArgumentParser(prog="bench.pods")
    parser.add_argument("--only", choices=PARTS, action="append", help="of the parts; all of them without it")
    parser.add_argument("--pods", type=int, default=50, help="of each kind, for the overhead")
    parser.add_argument("--cpu", type=float, default=1, help="of each pod, for the overhead")
    parser.add_argument("--waiting", type=int, default=200, help="pods that are waited for at once")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 5000], help="of simulated pods")
    parser.add_argument("--nodes", type=int, default=1000, help="simulated")
    parser.add_argument("--repeat", type=int, default=3, help="trainings on one, two and four pods, each")
    options = parser.parse_args()
    wanted = options.only or PARTS
    body: dict[str, Any] = {}
    if {"overhead", "workers"} & set(wanted):
        with place.a_cluster() as cluster:
            if "overhead" in wanted:
                with place.a_place(cluster) as found:
                    body["overhead"] = overhead.measure(found, count=options.pods, cpu=options.cpu)
                print(json.dumps({name: part for name, part in body["overhead"].items() if name != "raw"}, indent=1))
            if "workers" in wanted:
                body["workers"] = workers.measure(cluster, options.repeat)
                print(json.dumps(body["workers"], indent=1))
    if {"waiting", "scale"} & set(wanted):
        with plane.opened(nodes=options.nodes) as simulated:
            body["nodes"] = options.nodes
            if "waiting" in wanted:
                body["waiting"] = scale.waiting(simulated, options.waiting)
            if "scale" in wanted:
                body["scale"] = scale.measure(simulated, options.counts)
    write("pods", read("pods") | body)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

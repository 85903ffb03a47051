"""`python -m bench.pods`: all of it, on the cluster of TEST_CLUSTER or one of its own; root and Debian's packages."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")

from bench.pods import overhead, place  # noqa: E402 - Airflow reads its settings when it is imported
from bench.results import write  # noqa: E402


def main() -> int:
    """Measure, say it, keep it."""
    parser = argparse.ArgumentParser(prog="bench.pods")
    parser.add_argument("--pods", type=int, default=50, help="of each kind, for the overhead")
    parser.add_argument("--cpu", type=float, default=1, help="of each pod, for the overhead")
    options = parser.parse_args()
    body: dict[str, Any] = {}
    with place.a_cluster() as cluster, place.a_place(cluster) as found:
        body["overhead"] = overhead.measure(found, count=options.pods, cpu=options.cpu)
    print(json.dumps({name: part for name, part in body["overhead"].items() if name != "raw"}, indent=1))
    write("pods", body)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

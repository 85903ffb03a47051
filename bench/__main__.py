"""`make bench`: every benchmark in turn, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

NAMES = ("parsing", "latency", "tuning", "drift", "serving", "distributed", "ingest", "objects", "postgresql", "checks")


def main() -> int:
    """Those that are named, or all; their raw results go to bench/results/."""
    names = sys.argv[1:] or NAMES
    codes = []
    for name in names:
        print(f"\n=== {name}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())

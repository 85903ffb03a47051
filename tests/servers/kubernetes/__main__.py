"""`python -m tests.servers.kubernetes FOLDER`: a cluster that stays until it is told to end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.servers.kubernetes.cluster import opened


def main() -> None:
    """Start it, say how to reach it, and wait."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with opened(Path(sys.argv[1]).resolve()) as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig} PATH={cluster.folder / 'bin'}:$PATH", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()

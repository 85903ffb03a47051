"""Run in a container, as a text: what an image holds, as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def writable() -> list[str]:
    """Folders outside the pod's own volumes where a file can be made."""
    found = [str(folder) for folder in (Path("/"), Path("/opt/tradewind"), Path("/etc")) if os.access(folder, os.W_OK)]
    return [*found, *(str(path) for path in Path("/opt/tradewind").rglob("*") if path.owner() != "root")]


def stale() -> int:
    """Bytecode files that would be looked upon as old: told by time, which an image does not keep."""
    files = Path("/opt/tradewind").rglob("*.pyc")
    return sum(int.from_bytes(path.read_bytes()[4:8], "little") & 1 == 0 for path in files)


listed = json.loads(Path("/opt/tradewind/image/sbom.json").read_text())
debian = subprocess.run(
    ["dpkg-query", "--show", "--showformat", "${Package} "], capture_output=True, text=True, check=True
)
found = {
    "user": os.getuid(),
    "listed": {
        kind: sorted(normal(one["name"]) for one in listed["components"] if one["purl"].startswith(f"pkg:{kind}/"))
        for kind in ("pypi", "deb", "maven")
    },
    "python": sorted(normal(one.name) for one in distributions()),
    "debian": sorted(map(normal, debian.stdout.split())),
    "writable": writable(),
    "stale": stale(),
}
print(json.dumps(found))

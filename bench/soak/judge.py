"""What the soak must find at its end: by `tradewind lake verify --against`, and by what the rows say."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bench.soak.attempts import BLOCKS, Attempts
from bench.soak.producers import Ledger
from tradewind_runtime.lake import Lake
from tradewind_runtime.verify import Verified


def judged(attempts: Attempts, ledger: Ledger, lake: Lake) -> tuple[list[str], dict[str, Any]]:
    """What is amiss, and the figures."""
    code, lines = _verified(attempts)
    amiss = [f"verify: exit code {code}"] if code else []
    amiss += [f"verify: {line}" for line in lines if not line.ok or line.unread or line.lost is None]
    amiss += _messages(ledger, lake) + _objects(ledger, lake)
    figures = {
        "verify_exit_code": code,
        "partitions_and_objects": len(lines),
        "rows": sum(line.rows for line in lines),
        "quarantined": sum(line.quarantined for line in lines),
        "gaps_of_transactions": sum(line.gaps for line in lines),
        "lost": sum(line.lost or 0 for line in lines),
        "doubles": sum(line.doubles for line in lines),
        "unknown": sum(line.unknown or 0 for line in lines),
    }
    return amiss, figures


def _verified(attempts: Attempts) -> tuple[int, list[Verified]]:
    """The command's exit code and lines, in a project that has nothing but the pipeline."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        project = Path(folder)
        lake = {"uri": attempts.lake, "connection": "s3_default"}
        _write(project / "profiles/local.yaml", {"profile": "local", "lake": lake})
        pipeline = project / "dags/pipelines/soak.yaml"
        _write(pipeline, {"version": 1, "pipeline": "soak", "sources": BLOCKS})
        words = ["lake", "verify", "--against", str(pipeline), "--profile", "local", "--format", "json"]
        done = subprocess.run(
            [sys.executable, "-m", "tradewind.cli", *words], capture_output=True, text=True, check=False,
            env=attempts.environment() | {"TRADEWIND_PROJECT": folder, "TRADEWIND_HOME": str(project / "home")},
        )  # fmt: skip
    said = json.loads(done.stdout or "{}")
    if "sources" not in said:
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode, [Verified.model_validate(line) for line in said["sources"]]


def _write(path: Path, body: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))  # which YAML can read


def _messages(ledger: Ledger, lake: Lake) -> list[str]:
    """Each confirmed message once, no aborted one, and of a transaction with no known end all or none."""
    found = Counter(lake.table("soak/orders_raw").snapshot().to_arrow(["id"])["id"].to_pylist())
    refused = Counter(_contents(lake))
    good, broken = set(ledger.good), set(ledger.broken)
    amiss = []
    for numbers in ledger.open:
        there = numbers & (set(found) | set(refused))
        if there and there != numbers:
            amiss.append(f"a transaction in part: {len(there)} of {len(numbers)}")
        good |= there & set(found)
        broken |= there & set(refused)
    for what, wanted, have in (("rows", good, found), ("refused", broken, refused)):
        amiss += _held_against(what, wanted, have)
    if seen := ledger.aborted & (set(found) | set(refused)):
        amiss.append(f"{len(seen)} messages of aborted transactions")
    return amiss


def _contents(lake: Lake) -> list[int]:
    """The numbers of refused messages."""
    table = lake.table("soak/orders_quarantine")
    contents = table.snapshot().to_arrow(["content"])["content"].to_pylist() if table.exists() else []
    return [int(content.split()[1]) for content in contents]


def _objects(ledger: Ledger, lake: Lake) -> list[str]:
    """Of each object the rows of its last version."""
    table = lake.table("soak/lists_raw").snapshot().to_arrow(["_source", "id"])
    have = Counter(zip(table["_source"].to_pylist(), table["id"].to_pylist(), strict=True))
    return _held_against("rows of objects", {(key, one) for key, rows in ledger.objects.items() for one in rows}, have)


def _held_against(what: str, wanted: set[Any], have: Counter[Any]) -> list[str]:
    lost, odd = wanted - set(have), set(have) - wanted
    twice = [one for one, times in have.items() if times > 1]
    told = {"lost": lost, "that nobody sent": odd, "twice": twice}
    return [f"{len(some)} {what} {how}: {sorted(some)[:5]}" for how, some in told.items() if some]

"""`python -m bench.soak [--kills 200]`: some fifteen minutes on two cores; figures go to bench/results/soak.json."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.results import write
from bench.soak.attempts import SOURCES, Attempts, options, told
from bench.soak.judge import judged
from bench.soak.points import POINTS
from bench.soak.producers import Ledger, Objects, Plain, Transactional, producing
from bench.soak.world import LAKE, World, world
from tradewind_runtime.connections import Connection
from tradewind_runtime.lake import Lake

AWAY = (2.0, 12.0)  # seconds


def soak(folder: Path, kills: int, interruptions: int, points: Collection[str] = POINTS) -> dict[str, Any]:
    """Run it.

    Args:
        folder: empty; its servers' files.
        kills: of the step, at least; more where some point was not died at by then.
        interruptions: of broker and of store, each.
        points: those that must be died at.

    Returns:
        Its figures; `amiss` is empty where every message is there once.
    """
    began = time.monotonic()
    with world(folder) as servers:
        attempts = Attempts(f"s3://{LAKE}/soak", servers.connections, servers.troubled, tuple(points))
        ledger = Ledger()
        broker = servers.broker.server.address
        threads = [
            Plain(ledger, broker, 1), Transactional(ledger, broker, 2), Transactional(ledger, broker, 3),
            Objects(ledger, options(servers.connections), 4),
        ]  # fmt: skip
        with producing(threads):
            _trouble(attempts, servers, kills, interruptions)
        servers.settle()
        for name in SOURCES:
            attempts.run(name, 0)
        lake = Lake(attempts.lake, Connection.parse("s3_default", servers.connections["s3_default"]))
        amiss, figures = judged(attempts, ledger, lake)
    amiss += [f"{type(thread).__name__} has not ended" for thread in threads if thread.is_alive()]
    amiss += [] if ledger.good and ledger.aborted and ledger.versions else ["too little was produced"]
    amiss += [] if (done := sum(attempts.kills.values())) >= kills else [f"{done} kills of {kills}"]
    amiss += [f"{who} was away {n} of {interruptions} times" for who, n in servers.away.items() if n < interruptions]
    amiss += [*ledger.errors, *attempts.amiss, *servers.failed, *(f"never reached: {one}" for one in attempts.missed)]
    return {
        "ok": not amiss,
        "amiss": amiss,
        **told(attempts),
        "away": servers.away,
        "messages": {
            "good": len(ledger.good), "broken": len(ledger.broken), "aborted": len(ledger.aborted),
            "of_transactions_without_a_known_end": sum(map(len, ledger.open)),
        },
        "objects": {"keys": len(ledger.objects), "versions": ledger.versions},
        "lake": figures,
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip


def _trouble(attempts: Attempts, servers: World, kills: int, interruptions: int) -> None:
    """Runs in turn, until all has been done to them."""
    between = kills / (2 * interruptions + 1) if interruptions else kills + 1
    names, which = cycle(SOURCES), cycle(("broker", "store"))
    while (done := sum(attempts.kills.values())) < kills or attempts.missed or servers.interrupted < 2 * interruptions:
        if servers.interrupted < min(2 * interruptions, done // between):
            servers.interrupt(next(which), attempts.chance.uniform(*AWAY))
        attempts.run(next(names), kills)
        tried = sum(attempts.kills.values()) + sum(attempts.ended.values())
        print(f"\r{sum(attempts.kills.values())} kills, {tried} attempts, away {servers.away}", end="", file=sys.stderr)
        if attempts.amiss or servers.failed or tried > 20 * max(kills, len(POINTS)):
            break
    print(file=sys.stderr)


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=220)
    parser.add_argument("--interruptions", type=int, default=5, help="of broker and store each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        found = soak(Path(folder), asked.kills, asked.interruptions)
    print(json.dumps(found, indent=1))
    write("soak", found)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""Results of checks over time: the table `PIPELINE/checks`, a row for each check that a step has asked.

A step appends its rows in one commit, under its fingerprint, before it goes on or stops the run: a failing check is
there from its first run on, and an attempt that does it again adds nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.base import Frozen, digest
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.findings import Finding
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, PositionsMovedError, Table
from tradewind_runtime.snapshot import Snapshot

TABLE = "checks"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("time", _TIME),
        ("run", pa.string()),
        ("window_start", _TIME),
        ("window_end", _TIME),
        ("source", pa.string()),
        ("raw_version", pa.int64()),
        ("id", pa.string()),  # what stays when its limits change
        ("check", pa.string()),
        ("arguments", pa.string()),
        ("severity", pa.string()),
        ("success", pa.bool_()),
        ("rows", pa.int64()),
        ("failing_rows", pa.int64()),
        ("share", pa.float64()),
        ("observed", pa.string()),
        ("suite", pa.string()),  # of which it was one
        ("step", pa.string()),  # the fingerprint of the one that asked
    ]
)


def window_of(context: StepContext) -> Window | None:
    """What the run is about, as its pins say; None for a check that has no use for it."""
    pinned = context.request.pins.get("window")
    return Window.model_validate(pinned) if pinned else context.request.window


def record(context: StepContext, config: CheckConfig, rows: Snapshot, findings: Sequence[Finding]) -> None:
    """Keep what was found, once.

    Args:
        context: the step's.
        config: its checks.
        rows: those of the raw table that were new.
        findings: of those that were asked.
    """
    # Each run's own, also where its rows, and so its fingerprint, are those of the run before.
    table, id = context.table(TABLE), f"step:{context.request.fingerprint}:{context.request.run_id}"
    if not config.expectations:
        _ended(context, table, config.source)
    if not findings or table.position(id) is not None:
        return
    window = window_of(context)
    about = {
        "time": datetime.now(UTC),
        "run": context.request.run_id,
        "window_start": window.start if window else None,
        "window_end": window.end if window else None,
        "source": config.source,
        "raw_version": rows.version,
        "suite": digest([id for id, _ in config.ids()])[:12],
        "step": context.request.fingerprint,
    }
    ids, new = list(config.ids()), rows.count()
    found = [
        about | _body(finding, new) | {"id": next(id for id, one in ids if one is finding.expectation)}
        for finding in findings
    ]
    made = pa.Table.from_pylist(found, SCHEMA)
    table.commit(
        table.stage(made.to_batches(), SCHEMA),
        schema=SCHEMA,
        positions={id: Advance(None, 1)},
        metadata={"step": context.request.fingerprint, "run": context.request.run_id, "rows": len(found)},
    )


def _ended(context: StepContext, table: Table, source: str) -> None:
    """Note that a source has no checks any more, once: no later result would tell it."""
    if not table.exists():
        return
    snapshot, id = table.snapshot(), _end_of(source)
    asked = pc.max(snapshot.to_arrow(["time"], pc.field("source") == source)["time"]).as_py()
    before = table.position(id)
    if asked is None or (before is not None and _moment(before) >= asked):
        return
    now = (datetime.now(UTC) - EPOCH) // timedelta(microseconds=1)
    with suppress(PositionsMovedError):  # another step of the same source has noted it
        table.commit([], schema=SCHEMA, positions={id: Advance(before, now)}, metadata={"run": context.request.run_id})


def _end_of(source: str) -> str:
    return f"without:{source}"


def _moment(position: int) -> datetime:
    return EPOCH + timedelta(microseconds=position)


def _body(finding: Finding, rows: int) -> dict[str, Any]:
    return {
        "check": finding.expectation.name,
        "arguments": json.dumps(finding.expectation.arguments, default=str, ensure_ascii=False),
        "severity": finding.expectation.severity,
        "success": finding.success,
        "rows": rows if finding.rows is None else finding.rows,
        "failing_rows": finding.failing_rows,
        "share": finding.share,
        "observed": finding.observed,
    }


@dataclass(frozen=True)
class Earlier:
    """A check of a source, by another run and before this one's first."""

    time: datetime
    run: str
    window_end: datetime | None
    check: str
    raw_version: int
    rows: int


def earlier(context: StepContext, source: str) -> list[Earlier]:
    """What other runs have asked of a source before this one did, oldest first."""
    table, run = context.table(TABLE), context.request.run_id
    if not table.exists():
        return []
    columns = list(Earlier.__dataclass_fields__)
    found = table.snapshot().to_arrow(columns, pc.field("source") == source).to_pylist()
    began = min((row["time"] for row in found if row["run"] == run), default=None)
    others = [Earlier(**row) for row in found if row["run"] != run and (began is None or row["time"] < began)]
    return sorted(others, key=lambda one: one.time)


# For people ------------------------------------------------------------------------------------


class Result(Frozen):
    """What a check found in one run."""

    time: datetime
    run: str
    success: bool
    rows: int
    failing_rows: int | None
    share: float | None
    observed: str


class History(Frozen):
    """One check of one source, as its last runs found it."""

    source: str
    check: str
    arguments: dict[str, Any]
    severity: str
    success: bool
    asked: datetime
    until: datetime | None  # when its source was first checked without it; None where it is one of its checks
    passed: datetime | None  # when last
    failing_since: datetime | None
    results: tuple[Result, ...]  # newest first


def histories(lake: Lake, pipeline: str, last: int) -> list[History]:
    """Every check that was ever asked, with its results; by source, those that fail first, those of old last."""
    table = lake.table(f"{pipeline}/{TABLE}")
    rows = table.snapshot().to_arrow().sort_by("time").to_pylist() if table.exists() else []
    ends = _ends(table, {row["source"] for row in rows})
    checks: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    suites: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for row in rows:
        checks[row["source"], row["id"]].append(row)
        suites[row["source"]].append((row["time"], row["suite"]))
    found = [_history(id, one, _until(one, suites[source], ends[source]), last) for (source, id), one in checks.items()]
    return sorted(found, key=lambda one: (one.source, one.until is not None, one.success))


def _ends(table: Table, sources: Collection[str]) -> dict[str, datetime | None]:
    """When it was noted of each that it has no checks any more."""
    now = table.positions([_end_of(source) for source in sources]) if sources else {}
    return {source: None if (at := now[_end_of(source)]) is None else _moment(at) for source in sources}


def _until(
    rows: Sequence[dict[str, Any]], suites: Sequence[tuple[datetime, str]], end: datetime | None
) -> datetime | None:
    """When another suite than that of a check's newest row was asked first, or none any more."""
    asked, suite = rows[-1]["time"], rows[-1]["suite"]
    later = [time for time, other in suites if time > asked and other != suite]
    if end is not None and end > asked:
        later.append(end)
    return min(later, default=None)


def _history(id: str, rows: Sequence[dict[str, Any]], until: datetime | None, last: int) -> History:
    newest = rows[-1]
    return History(
        source=newest["source"],
        check=id,
        arguments=json.loads(newest["arguments"]),
        severity=newest["severity"],
        success=newest["success"],
        asked=newest["time"],
        until=until,
        passed=next((row["time"] for row in reversed(rows) if row["success"]), None),
        failing_since=next(_failures(rows), None),
        results=tuple(Result(**{name: row[name] for name in Result.model_fields}) for row in rows[: -last - 1 : -1]),
    )


def _failures(rows: Sequence[dict[str, Any]]) -> Iterator[datetime]:
    """Times of the failures since it passed last, oldest first."""
    passed = next((number for number in range(len(rows), 0, -1) if rows[number - 1]["success"]), 0)
    yield from (row["time"] for row in rows[passed:])


def pipelines(lake: Lake) -> list[str]:
    """Those whose checks have been asked."""
    names = (name.rpartition("/") for name in lake.tables())
    return sorted(pipeline for pipeline, _, name in names if name == TABLE)

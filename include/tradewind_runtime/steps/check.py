"""`check`: rows that pass go to the source's table, the others to its quarantine, a failing suite stops the run.

Only rows that no run has checked yet are looked at: what the raw table has gained since the version that
the table's position `check` names. An expectation on all rows (a mean, uniqueness) is about those too.
Freshness, volume and schema are asked first, and of a run without new rows too. What was found is kept
(`checked`) before the run goes on or stops.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import checked, datachecks, news, quarantine
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepOutcome, Verdict
from tradewind_runtime.findings import Finding
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.widening import fit

POSITION = "check"
CHUNK = 250_000  # rows in memory at a time


def run(context: StepContext) -> StepOutcome:
    """Check the new rows of one source.

    Raises:
        StepError: TW540 where an expectation of severity `stop` fails; TW541 where one cannot be asked.
    """
    config = context.config(CheckConfig)
    raw, table = context.snapshot("rows"), context.table(config.source)
    before = table.position(POSITION)
    own = datachecks.ask(context, config, raw, before)
    if before is not None and before >= raw.version:
        _settle(context, config, replace(raw, files=()), own, {})
        return _done(context, table, raw, own)
    new = news.since(raw, before)
    findings, links = _judge(context, config, new.rows, own)
    failing = _failing(findings, new.rows)
    refused = _quarantine(context, config, new.rows, findings, failing)
    version = _take(context, config, new, failing, before)
    warnings = _warnings(findings)
    rows = new.rows.count() - len(failing)
    context.log.info("%s: %d rows pass, %d go to quarantine", config.source, rows, len(failing))
    return StepOutcome(
        outputs={"rows": DatasetRef(table=table.name, version=version)},
        metrics={"rows": rows, "failed_rows": len(failing), "expectations": len(findings), "failed": len(warnings)},
        facts={
            "raw_version": raw.version,
            "checked_before": before,
            "again": new.again,
            "quarantined": refused,
            "expectations": [finding.facts() for finding in findings],
        },
        verdict=Verdict(passed=True, reasons=warnings),
        links=links,
    )


def _warnings(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(finding.text for finding in findings if not finding.success)


def _done(context: StepContext, table: Table, raw: Snapshot, own: Sequence[Finding]) -> StepOutcome:
    """These rows have been checked: by a killed attempt, by an earlier run, or before a later one's."""
    version = table.version_with("raw", raw.version)
    if version is None:
        version = table.snapshot().version
    context.log.info("%s: version %d of the raw rows has been checked", table.name, raw.version)
    return StepOutcome(
        outputs={"rows": DatasetRef(table=table.name, version=version)},
        metrics={"rows": 0, "failed_rows": 0, "expectations": len(own), "failed": len(_warnings(own))},
        facts={"raw_version": raw.version, "checked_before": raw.version}
        | ({"expectations": [finding.facts() for finding in own]} if own else {}),
        verdict=Verdict(passed=True, reasons=_warnings(own)),
    )


def _judge(
    context: StepContext, config: CheckConfig, rows: Snapshot, own: Sequence[Finding]
) -> tuple[list[Finding], dict[str, str]]:
    """Ask all expectations, and settle what was found."""
    try:
        answers, links = _suite(context, config, rows)
    except StepError:
        if not any(finding.stops for finding in own):
            raise
        answers, links = [], {}  # such as one of a column that the schema's check misses
    findings = [*own, *answers]
    _settle(context, config, rows, findings, links)
    return findings, links


def _suite(context: StepContext, config: CheckConfig, rows: Snapshot) -> tuple[Sequence[Finding], dict[str, str]]:
    """Ask Great Expectations, and keep its data docs."""
    if not config.suite:
        return [], {}
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # importing it, it tells of its own internals
    from tradewind_runtime.expectations import Suite  # Great Expectations takes seconds to import

    suite = Suite(config.source, config.suite, rows.schema)
    if rows.count() == 0:
        return [], {}
    answers = suite.validate(lambda columns: _chunks(rows, columns))
    home = f"docs/{context.request.pipeline}/{config.source}/{context.request.fingerprint[:12]}"
    for path, content in suite.docs(answers, context.request.run_id):
        context.lake.documents.put(f"{home}/{path}", content)
    return answers, {"Data docs": f"{home}/index.html"}


def _settle(
    context: StepContext,
    config: CheckConfig,
    rows: Snapshot,
    findings: Sequence[Finding],
    links: dict[str, str],
) -> None:
    """Say and keep what was found, and stop where a check of severity `stop` fails."""
    for finding in findings:
        context.log.info("%s %s", "pass" if finding.success else finding.expectation.severity, finding.text)
    checked.record(context, config, rows, findings)
    stops = [finding for finding in findings if finding.stops]
    if stops:
        see = links.get("Data docs", f"tradewind checks {context.request.pipeline}")
        raise StepError(
            "TW540",
            f"{len(stops)} of {len(findings)} checks on {config.source!r} fail",
            retryable=False,
            path=f"checks.{config.source}",
            got="; ".join(finding.text for finding in stops),
            expected="each of severity stop to hold, an expectation for as many rows as `mostly` says",
            fix=f"mend the data, or the check (its limits, severity: warn); see {see}",
            links=links or None,
        )


def _chunks(rows: Snapshot, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Rows in the order of files and positions, always the same; small files together."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in rows.dataset().to_batches(columns=list(columns) if columns else None, batch_size=CHUNK):
        if waiting and size + batch.num_rows > CHUNK:
            yield pa.Table.from_batches(waiting)
            waiting, size = [], 0
        waiting.append(batch)
        size += batch.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting)


def _numbered(rows: Snapshot, failing: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[tuple[int, pa.Table, Any]]:
    """Each chunk with the number of its first row and which of its rows fail."""
    offset = 0
    for chunk in _chunks(rows):
        low, high = np.searchsorted(failing, [offset, offset + chunk.num_rows])
        mask = np.zeros(chunk.num_rows, dtype=bool)
        mask[failing[low:high] - offset] = True
        yield offset, chunk, mask
        offset += chunk.num_rows


def _failing(findings: Sequence[Finding], rows: Snapshot) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers of the rows that an expectation refuses. One that only warns refuses none."""
    refused = [finding.failing for finding in findings if finding.expectation.severity == "stop"]
    found = np.unique(np.concatenate(refused)) if refused else np.empty(0, np.int64)
    assert not len(found) or found[-1] < rows.count(), "rows are numbered as they are read"
    return found


def _quarantine(
    context: StepContext,
    config: CheckConfig,
    rows: Snapshot,
    findings: Sequence[Finding],
    failing: np.ndarray[Any, np.dtype[np.int64]],
) -> int:
    """Keep the refused rows, before the others are taken: a kill in between must lose none.

    Those that are there already stay alone: of an attempt that was killed, or of rows that are checked again.
    """
    if not len(failing):
        return 0
    table = context.table(f"{config.source}_quarantine")
    table.create(quarantine.SCHEMA)
    known = table.snapshot()
    count = 0

    def new() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for offset, chunk, mask in _numbered(rows, failing):
            if not mask.any():
                continue
            bad = [
                _bad(config.source, offset + int(at), row, findings)
                for at, row in zip(np.flatnonzero(mask), chunk.filter(pa.array(mask)).to_pylist(), strict=True)
            ]
            have = _held(known, {row.source for row in bad})
            fresh = [row for row in bad if (row.source, row.position, row.content) not in have]
            count += len(fresh)
            yield from quarantine.to_arrow(fresh, "check").to_batches()

    files = table.stage(new(), quarantine.SCHEMA)
    if count:
        table.commit(
            files,
            schema=quarantine.SCHEMA,
            metadata={"step": context.request.fingerprint, "run": context.request.run_id},
            positions={f"step:{context.request.fingerprint}": Advance(None, 1)},
        )
    return count


def _held(known: Snapshot, sources: set[str]) -> set[tuple[str, int, bytes]]:
    where = (pc.field("stage") == "check") & pc.field("source").isin(list(sources))
    found = known.to_arrow(["source", "position", "content"], where)
    return set(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _bad(source: str, number: int, row: dict[str, Any], findings: Sequence[Finding]) -> quarantine.Bad:
    reasons = []
    for finding in findings:
        asked = finding.expectation
        at = int(np.searchsorted(finding.failing, number))
        if asked.severity == "stop" and at < len(finding.failing) and finding.failing[at] == number:
            values = ", ".join(f"{name} = {row[name]!r}" for name in asked.columns)
            reasons.append(f"{asked.name}: {values}")
    content = {name: value for name, value in row.items() if not name.startswith("_")}
    position = row.get("_position")
    return quarantine.Bad(
        source=str(row.get("_source") or source),
        position=number if position is None else int(position),
        reason="; ".join(reasons),
        content=json.dumps(content, default=_plain, ensure_ascii=False).encode(),
    )


def _plain(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _take(
    context: StepContext,
    config: CheckConfig,
    new: news.News,
    failing: np.ndarray[Any, np.dtype[np.int64]],
    before: int | None,
) -> int:
    """Commit the rows that pass, together with how far the raw table has been checked."""
    table, version = context.table(config.source), new.rows.version
    schema = fit(table, new.rows.schema)
    timed = config.time in schema.names and pa.types.is_timestamp(schema.field(config.time).type)
    passing = (
        batch
        for _, chunk, mask in _numbered(new.rows, failing)
        for batch in chunk.filter(pa.array(~mask)).to_batches()
        if batch.num_rows
    )
    try:
        return table.commit(
            table.stage(passing, schema, cut_by=config.time if timed else None),
            schema=schema,
            positions={POSITION: Advance(before, version)},
            replace="all" if new.again else None,
            metadata={"raw": version, "step": context.request.fingerprint, "run": context.request.run_id},
        )
    except PositionsMovedError as error:
        raise StepError("TW542", f"another run has checked {config.source!r} meanwhile", fix="try again") from error

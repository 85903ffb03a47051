"""`check`: rows that pass go to the source's table, the others to its quarantine, a failing suite stops the run.

Only rows that no run has checked yet are looked at: what the raw table has gained since the version that
the table's position `check` names. Where that replaced a span, they replace it here. An expectation on all rows
(a mean, uniqueness) is about those too.
Freshness, volume and schema are asked first, and of a run without new rows too. What was found is kept
(`checked`) before the run goes on or stops.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tradewind_runtime import checked, datachecks, news, quarantine, retention, sifting
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepOutcome, Verdict
from tradewind_runtime.findings import Finding
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.replacing import But
from tradewind_runtime.sifting import Numbers, Reason, Sieve
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.sources.cursors import number_of
from tradewind_runtime.widening import fit

POSITION = "check"
RAW = "check@raw"  # beside it: of which table, for one that was made again begins to count anew


def run(context: StepContext) -> StepOutcome:
    """Check the new rows of one source.

    Raises:
        StepError: TW540 where an expectation of severity `stop` fails; TW541 where one cannot be asked; TW542 where the
            raw table was made again; TW546 where the engine is Spark, and fails.
    """
    config = context.request.configured(CheckConfig)
    raw, table = context.snapshot("rows"), context.table(config.source)
    before, id = table.position(POSITION), _same(raw, table)
    own = datachecks.ask(context, config, raw, before)
    if before is not None and before >= raw.version:
        _settle(context, config, replace(raw, files=()), own, {})
        return _done(context, table, raw, own)
    new = news.since(raw, before)
    with sifting.sieve(context, new.rows) as sieve:
        findings, links = _judge(context, config, new.rows, sieve, own)
        reasons = sifting.reasons(findings)
        failing = sifting.union(reasons)
        assert not len(failing) or failing[-1] < new.rows.count(), "rows are numbered as they are read"
        refused = _quarantine(context, config, sieve, reasons) if len(failing) else 0
        version = _take(context, new, sieve, failing, {POSITION: Advance(before, raw.version), **id})
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


def _same(raw: Snapshot, table: Table) -> dict[str, Advance]:
    """What says of which raw table the position is, where that is not said yet.

    Raises:
        StepError: TW542 where it is of another: its versions say nothing of this one's rows.
    """
    known, now = table.position(RAW), number_of(raw.table.identity())
    if known not in (None, now):
        raise StepError(
            "TW542", f"{raw.table.name} was made again since {table.name} was filled from it", retryable=False,
            fix=f"put the old one back, or delete the folder of {table.name} too: all rows are then checked anew",
        )  # fmt: skip
    return {RAW: Advance(known, now)}


def _warnings(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(finding.text for finding in findings if not finding.success)


def _done(context: StepContext, table: Table, raw: Snapshot, own: Sequence[Finding]) -> StepOutcome:
    """These rows have been checked: by a killed attempt, by an earlier run, or before a later one's."""
    version = context.there(table, table.version_with("raw", raw.version))
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
    context: StepContext, config: CheckConfig, rows: Snapshot, sieve: Sieve, own: Sequence[Finding]
) -> tuple[list[Finding], dict[str, str]]:
    """Ask all expectations, and settle what was found."""
    try:
        answers, links = _suite(context, config, rows, sieve)
    except StepError:
        if not any(finding.stops for finding in own):
            raise
        answers, links = [], {}  # such as one of a column that the schema's check misses
    findings = [*own, *answers]
    _settle(context, config, rows, findings, links)
    return findings, links


def _suite(
    context: StepContext, config: CheckConfig, rows: Snapshot, sieve: Sieve
) -> tuple[Sequence[Finding], dict[str, str]]:
    """Ask Great Expectations, and keep its data docs."""
    if not config.suite:
        return [], {}
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # importing it, it tells of its own internals
    from tradewind_runtime.expectations import Suite  # Great Expectations takes seconds to import

    suite = Suite(config.source, config.suite, rows.schema)
    if rows.count() == 0:
        return [], {}
    answers = sieve.judge(suite)
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


def _quarantine(context: StepContext, config: CheckConfig, sieve: Sieve, reasons: Sequence[Reason]) -> int:
    """Keep the refused rows, before the others are taken: a kill in between must lose none."""
    table = context.table(f"{config.source}_quarantine")
    table.create(quarantine.SCHEMA)
    files, count = sieve.refuse(config.source, reasons, table)
    if count:
        table.commit(
            files,
            schema=quarantine.SCHEMA,
            metadata={"step": context.request.fingerprint, "run": context.request.run_id},
            positions={f"step:{context.request.fingerprint}": Advance(None, 1)},
        )
    return count


def _take(
    context: StepContext, new: news.News, sieve: Sieve, failing: Numbers, positions: Mapping[str, Advance]
) -> int:
    """Commit the rows that pass, together with how far the raw table has been checked."""
    config = context.request.configured(CheckConfig)
    table = context.table(config.source)
    schema = fit(table, new.rows.schema)
    timed = config.time in schema.names and retention.is_time(schema.field(config.time).type)
    try:
        return table.commit(
            sieve.pass_on(failing, table, schema, config.time if timed else None),
            schema=schema,
            positions=positions,
            replace=_replaced(new) if new.again else new.spans or None,
            metadata={"raw": new.rows.version, "step": context.request.fingerprint, "run": context.request.run_id},
        )
    except PositionsMovedError as error:
        raise StepError("TW542", f"another run has checked {config.source!r} meanwhile", fix="try again") from error


def _replaced(new: news.News) -> But | str:
    """All rows, but those that the raw table had and keeps no longer: it does not say how long they are kept here."""
    cuts = retention.cuts(new.rows.table, new.rows.version)
    return But(retention.older(cuts, new.rows.schema)) if cuts else "all"

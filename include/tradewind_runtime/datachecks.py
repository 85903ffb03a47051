"""Freshness, volume and schema of a source: asked of the raw table's log, with no suite of Great Expectations.

Age and volume are asked of a run whose window ends later than those that were asked before. A backfill, or a run over
a window that has had its run, brings what it brings, and says nothing about whether the source still lives.
"""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from tradewind_runtime import checked, news
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.checks import CheckConfig, DataCheck, Expectation, Freshness, TableSchema, Volume
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.findings import Finding
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.sources.columns import RESERVED, word

LEAST = 3  # runs, before a median says anything


def ask(context: StepContext, config: CheckConfig, raw: Snapshot, before: int | None) -> list[Finding]:
    """Ask those of a source that this run is to be asked.

    Args:
        context: the step's.
        config: its checks.
        raw: the version to check.
        before: the version up to which rows have been checked.

    Raises:
        StepError: TW541 where one cannot be asked.
    """
    asked = [(one, _parsed(config, one)) for one in config.data_checks]
    if not asked:
        return []
    case = _Case.of(context, config, raw, before)
    found = []
    for one, check in asked:
        if isinstance(check, TableSchema) or case.current:
            found.append(_FINDERS[type(check)](case, one, check))
        else:
            context.log.info("%s is not asked: a backfill, or a window that has had its run", one.name)
    return found


def _parsed(config: CheckConfig, one: Expectation) -> DataCheck:
    try:
        check = one.data_check
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{one.name}: {where + ': ' if where else ''}{first['msg']}"
        raise _unaskable(config, message, "mend its arguments") from error
    assert check is not None, "the configuration tells its own checks by their names"
    return check


def _unaskable(config: CheckConfig, message: str, fix: str, **more: Any) -> StepError:
    return StepError("TW541", message, retryable=False, path=f"checks.{config.source}", fix=fix, **more)


@dataclass(frozen=True)
class _Case:
    """What is asked about."""

    config: CheckConfig
    raw: Snapshot
    before: int | None
    now: datetime  # when the run has asked its sources for their ends; the same for each attempt
    until: datetime  # where the source should have come to
    current: bool
    earlier: Sequence[checked.Earlier]

    @staticmethod
    def of(context: StepContext, config: CheckConfig, raw: Snapshot, before: int | None) -> _Case:
        pins, window = context.request.pins, checked.window_of(context)
        now = datetime.fromisoformat(pins["created"]) if "created" in pins else datetime.now(UTC)
        until = min(window.end, now) if window else now
        others = checked.earlier(context, config.source)
        # A window that ended in the future was of its own time only.
        ends = [min(one.window_end, one.time) for one in others if one.window_end is not None]
        current = not pins.get("backfill") and all(end < until for end in ends)
        return _Case(config, raw, before, now, until, current, others)


def _freshness(case: _Case, one: Expectation, check: Freshness) -> Finding:
    column = check.column or case.config.time
    if column is None:
        raise _unaskable(case.config, "freshness has no column to look at", "add column: …, or time: to the source")
    newest, rows = _newest(case, column)
    if newest is None:
        return Finding(expectation=one, success=False, observed=f"there is no {column} up to now", rows=rows)
    age = max(case.until - newest, timedelta(0))
    return Finding(
        expectation=one,
        success=age <= check.max_age,
        observed=f"the newest {column} is {_shown(newest)}, {age.total_seconds() / 3600:.1f} h before "
        f"{_shown(case.until)}",
        rows=rows,
    )


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(" ", "seconds")


def _newest(case: _Case, column: str) -> tuple[datetime | None, int]:
    """The latest time of a column and the table's rows, by the log's bounds.

    Times after now are left out, so that one wrong clock does not hide that nothing comes: only files that have some
    are read.
    """
    raw = case.raw
    if column not in raw.schema.names:
        near = next(iter(difflib.get_close_matches(column, raw.schema.names, 1)), None)
        raise _unaskable(case.config, f"freshness: there is no column {column!r}", "mend column", suggestion=near)
    kind = raw.schema.field(column).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        message = f"freshness: the column {column!r} is no time"
        raise _unaskable(case.config, message, "name one of type timestamp or date", got=word(kind))
    entries = raw.table.entries_of(raw.version, column)
    times = [
        found
        for path, file in entries.items()
        for found in _times(case, column, path, _moment(file.get(f"min.{column}")), _moment(file.get(f"max.{column}")))
    ]
    return max(times, default=None), sum(file["num_records"] or 0 for file in entries.values())


def _times(case: _Case, column: str, path: str, low: datetime | None, high: datetime | None) -> Iterator[datetime]:
    """The latest time of one file, if it has any."""
    if high is not None and high <= case.now:
        yield high
    elif low is None or low <= case.now:
        kind = case.raw.schema.field(column).type
        rows = Snapshot(case.raw.table, case.raw.version, (path,), case.raw.schema).dataset()
        for batch in rows.to_batches(columns=[column], filter=pc.field(column) <= _bound(case.now, kind)):
            if (found := _moment(pc.max(batch.column(0)).as_py())) is not None:
                yield found


def _moment(value: Any) -> datetime | None:
    """A bound as a time; a date is its midnight, and a time without a zone is of UTC."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None


def _bound(now: datetime, kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_date(kind):
        return pa.scalar(now.astimezone(UTC).date(), kind)
    return pa.scalar(now if kind.tz else now.astimezone(UTC).replace(tzinfo=None), kind)


def _volume(case: _Case, one: Expectation, check: Volume) -> Finding:
    last = {other.run: other for other in case.earlier if other.check == "volume"}  # each run's newest
    runs = list(last.values())
    known = [other.raw_version for other in runs if other.raw_version <= case.raw.version]
    rows = news.count(case.raw, max(known) if known else case.before)
    compared = [other.rows for other in runs[-check.runs :]]
    success = (check.min is None or rows >= check.min) and (check.max is None or rows <= check.max)
    observed = f"{rows} rows"
    if check.change is not None and len(compared) >= LEAST:
        median = statistics.median(compared)
        # Of nothing there is no share: a source that mostly brings nothing is not judged by it.
        success = success and (not median or abs(rows - median) <= check.change * median)
        observed += f"; the median of the last {len(compared)} runs is {median:g}"
    return Finding(expectation=one, success=success, observed=observed, rows=rows)


def _schema(case: _Case, one: Expectation, check: TableSchema) -> Finding:
    have = {column.name: word(column.type) for column in case.raw.schema if column.name not in RESERVED}
    wrong = [
        f"{name} is {have[name]}, not {kind}" if name in have else f"there is no {name}"
        for name, kind in check.columns.items()
        if have.get(name) != kind
    ]
    if check.extra == "refuse":
        wrong += [f"{name} is not expected" for name in have if name not in check.columns]
    return Finding(expectation=one, success=not wrong, observed="; ".join(wrong) or "as expected", rows=0)


_FINDERS: dict[type[DataCheck], Any] = {Freshness: _freshness, Volume: _volume, TableSchema: _schema}

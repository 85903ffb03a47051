"""Spans of time as sets. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from tradewind_runtime.contract.refs import Window

DAY = timedelta(days=1)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def union(spans: Iterable[Window], gap: timedelta = timedelta()) -> tuple[Window, ...]:
    """In order, none of which touches another; those with no more than a gap between them are one."""
    found: list[Window] = []
    for span in sorted(spans, key=lambda one: one.start):
        if found and span.start - found[-1].end <= gap:
            found[-1] = found[-1].union(span)
        else:
            found.append(span)
    return tuple(found)


def minus(spans: Iterable[Window], others: Iterable[Window]) -> tuple[Window, ...]:
    """What of some spans lies in none of others."""
    left = list(union(spans))
    for other in others:
        left = [part for span in left for part in _outside(span, other)]
    return tuple(left)


def _outside(span: Window, other: Window) -> Iterable[Window]:
    if span.start < (before := min(span.end, other.start)):
        yield Window(start=span.start, end=before)
    if (after := max(span.start, other.end)) < span.end:
        yield Window(start=after, end=span.end)


def days(first: datetime, last: datetime) -> Window:
    """The whole days, in UTC, from that of one moment to that of another."""
    return Window(start=midnight(first), end=later(midnight(last), DAY))


def later(moment: datetime, by: timedelta) -> datetime:
    """So much, or the end of all time."""
    return moment + by if by <= LAST - moment else LAST


def earlier(moment: datetime, by: timedelta) -> datetime:
    """So much, or the beginning of all time."""
    return moment - by if by <= moment - FIRST else FIRST


def midnight(moment: datetime) -> datetime:
    """That its day in UTC begins with; a moment without a zone is in UTC."""
    known = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return known.replace(hour=0, minute=0, second=0, microsecond=0)

"""`{window.date}` in an address: every date of a run's window, as 2013-01-31 or as its format says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from functools import partial

ISO = "%Y-%m-%d"
#: strftime's, of a date: how each is written of one, and the glob of whatever it may be.
PARTS = {
    "%Y": ("{0.year:04}", "[0-9][0-9][0-9][0-9]"), "%m": ("{0.month:02}", "[0-9][0-9]"),
    "%d": ("{0.day:02}", "[0-9][0-9]"), "%j": ("{0:%j}", "[0-9][0-9][0-9]"), "%-m": ("{0.month}", "[0-9]*"),
    "%-d": ("{0.day}", "[0-9]*"),
}  # fmt: skip
_WORD = re.compile(r"\{window\.date(?::([^{}]*))?\}")
_PART = re.compile(r"%-?[A-Za-z]|%")


def dated(address: str) -> bool:
    """Whether it stands for several."""
    return _WORD.search(address) is not None


def of_days(address: str, days: Iterable[date]) -> list[str]:
    """What it stands for, each once: with `%Y/%m` all days of a month are one."""
    return list(dict.fromkeys(_written(address, partial(_on, day)) for day in days))


def of_any_day(address: str) -> str:
    """A glob of all that it may stand for."""
    return _written(address, lambda part: part[1])


def unknown(format: str) -> list[str]:
    """What a format has in it that no date has."""
    return [part for part in _PART.findall(format) if part not in PARTS]


def stray(address: str) -> list[str]:
    """The same of all formats in an address."""
    return [part for word in _WORD.finditer(address) for part in unknown(word[1] or ISO)]


def _on(day: date, part: tuple[str, str]) -> str:
    return part[0].format(day)


def _written(address: str, each: Callable[[tuple[str, str]], str]) -> str:
    def word(match: re.Match[str]) -> str:
        return _PART.sub(lambda part: each(PARTS[part[0]]), ISO if match[1] is None else match[1])

    return _WORD.sub(word, address)

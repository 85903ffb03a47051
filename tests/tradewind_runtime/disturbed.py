"""Attempts that are killed, or have a rival, at their commits."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tradewind_runtime.lake import Table


class Killed(BaseException):
    """What nobody catches."""


def die() -> None:
    raise Killed


def disturb(
    monkeypatch: pytest.MonkeyPatch,
    chance: random.Random,
    attempt: Callable[[], object],
    *,
    deaths: float,
    rivals: float,
) -> Callable[[], None]:
    """Before and after any commit from now on whoever does it may be killed, or another attempt come in between.

    Args:
        monkeypatch: of the test.
        chance: which.
        attempt: one.
        deaths: how probable at each.
        rivals: likewise; of an attempt that came in between there may be another one, and no further.

    Returns:
        An attempt, which may be killed.
    """
    whole, within = Table.commit, list[bool]()

    def one() -> None:
        with suppress(Killed):
            attempt()

    def rival() -> None:
        if len(within) < 2 and chance.random() < rivals:
            within.append(True)
            one()
            within.pop()

    def commit(self: Table, *given: Any, **more: Any) -> int:
        if chance.random() < deaths:
            raise Killed
        rival()
        version = whole(self, *given, **more)
        rival()
        if chance.random() < deaths:
            raise Killed
        return version

    monkeypatch.setattr(Table, "commit", commit)
    return one

"""Files that are opened before their turn come in theirs; one that cannot be listed comes after all before it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources import opening
from tradewind_runtime.sources.files.base import SMALL
from tradewind_runtime.sources.opening import Opening, early
from tradewind_runtime.sources.stores import Place
from tradewind_runtime.sources.stores.pinned import Pinned

NOTHING = pa.schema([])


def files(count: int, large: int | None = None, breaks: int | None = None) -> Iterator[tuple[int, Pinned]]:
    for number in range(count):
        if number == breaks:
            raise StepError("TW526", "it vanished")
        size = SMALL + 1 if number == large else SMALL
        yield number, Pinned(cast("Place", None), str(number), "1", Path(str(number)), size)


class Opener:
    def __init__(self) -> None:
        self.begun: list[int] = []
        self.opened: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, pool: Executor, one: int, file: Pinned) -> Opening:
        assert file.key == str(one)
        self.begun.append(one)
        return Opening(NOTHING, pool.submit(self._opened, one))

    def _opened(self, one: int) -> Any:
        self.go.wait(10)
        self.opened.append(one)
        return one


def test_all_in_their_order_some_ahead() -> None:
    opener = Opener()
    found = early(files(100), opener)
    assert next(found)[0] == 0
    assert opener.begun == list(range(opening.AHEAD))
    rest = [(one, opened and opened.rows.result()) for one, _, opened in found]
    assert rest == [(number, number) for number in range(1, 100)]


def test_a_large_one_is_opened_in_its_turn_and_nothing_before_it_waits_for_what_follows() -> None:
    opener = Opener()
    found = [(one, opened is None) for one, _, opened in early(files(5, large=2), opener)]
    assert found == [(0, False), (1, False), (2, True), (3, False), (4, False)]


def test_what_cannot_be_listed_is_told_after_all_before_it() -> None:
    given: list[int] = []
    with pytest.raises(StepError, match="it vanished"):
        given.extend(one for one, _, _ in early(files(9, breaks=5), Opener()))
    assert given == [0, 1, 2, 3, 4]


def test_what_is_not_wanted_any_more_is_not_opened() -> None:
    opener = Opener()
    opener.go.clear()
    found = cast("Any", early(files(100), opener))
    next(found)
    threading.Timer(0.2, opener.go.set).start()
    found.close()
    assert len(opener.opened) <= opening.THREADS < len(opener.begun)

"""What is read ahead comes in order and whole; errors come through, and nothing goes on behind one's back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tradewind_runtime.sources.files.base import ahead


def numbers(made: list[int], end: int = 5, breaks: int | None = None) -> Iterator[Any]:
    for number in range(1, end):
        made.append(number)
        if number == breaks:
            raise OSError("broken")
        yield number


@pytest.mark.parametrize("waiting", [1, 3])
def test_all_of_it_in_order(waiting: int) -> None:
    made: list[int] = []
    found = ahead(numbers(made), waiting)
    assert next(found) == 1
    assert list(found) == [2, 3, 4]
    assert made == [1, 2, 3, 4]


@pytest.mark.parametrize("waiting", [1, 3])
def test_an_error_comes_where_it_was_made(waiting: int) -> None:
    found = ahead(numbers([], breaks=3), waiting)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(OSError, match="broken"):
        next(found)


def test_once_it_is_closed_nothing_is_made() -> None:
    made: list[int] = []
    before = threading.active_count()
    with closing(ahead(numbers(made, end=1_000), 3)) as found:
        assert next(found) == 1
    assert threading.active_count() <= before
    assert len(made) <= 1 + 3
    seen = [*made]
    time.sleep(0.1)
    assert made == seen

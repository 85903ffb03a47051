"""Attempts at the same objects by other columns, killed or at the same moment: each row is taken in or refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.tradewind_runtime.disturbed import Killed, die, disturb
from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.steprun import rows

from tradewind_runtime.lake import Table

BEFORE, MENDED = {"n": "long", "c": "long"}, {"n": "long"}
GOOD, ONCE, BAD = {"n": 1}, {"n": 1, "c": "x"}, {"n": "x"}  # the second is refused by the columns of before alone
RAW, REFUSED = "demo/flights_raw", "demo/flights_quarantine"


class Folder(Project):
    """Files of JSON lines."""

    def send(self, name: str, *lines: Mapping[str, object]) -> None:
        self.write(f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def take(self, columns: Mapping[str, str]) -> None:
        self.ingest(objects("*.jsonl", columns=columns, max_bad=100))

    def held(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Files and numbers of rows, and of what is refused."""
        good = [(row["_source"], row["_position"]) for row in rows(self.lake)]
        bad = [(row["source"], row["position"]) for row in rows(self.lake, "flights_quarantine")]
        return sorted(good), sorted(bad)


@pytest.fixture
def folder(tmp_path: Path, lake_uri: str) -> Folder:
    return Folder(tmp_path / "a project", lake_uri)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], str], None]:
    """What happens before the next commit of a table."""
    whole = Table.commit

    def by(then: Callable[[], object], name: str) -> None:
        def commit(self: Table, *given: Any, **more: Any) -> int:
            if self.name == name:
                monkeypatch.setattr(Table, "commit", whole)
                then()
            return whole(self, *given, **more)

        monkeypatch.setattr(Table, "commit", commit)

    return by


@pytest.mark.parametrize(("mine", "its"), [(BEFORE, MENDED), (MENDED, BEFORE)], ids=["less", "more"])
def test_a_rival_that_refuses_other_rows_comes_as_far_and_is_killed(
    folder: Folder, at: Callable[..., None], mine: Mapping[str, str], its: Mapping[str, str]
) -> None:
    """The quarantine is where this one wants it, and may not have what this one refuses."""
    folder.send("a", ONCE, GOOD, BAD)

    def rival() -> None:
        at(die, RAW)
        with pytest.raises(Killed):
            folder.take(its)

    at(rival, REFUSED)
    folder.take(mine)
    good, bad = folder.held()
    assert {*good, *bad} == {("a.jsonl", n) for n in range(3)}
    assert good == [("a.jsonl", n) for n in ((1,) if mine is BEFORE else (0, 1))]
    assert bad == [("a.jsonl", n) for n in (0, 2)], "where the rival alone refuses a row, it is in both"


def test_a_rival_that_refuses_the_same_is_this_one(folder: Folder, at: Callable[..., None]) -> None:
    folder.send("a", ONCE, GOOD)
    at(lambda: folder.take(BEFORE), REFUSED)
    folder.take(BEFORE)
    assert folder.held() == ([("a.jsonl", 1)], [("a.jsonl", 0)])


@pytest.mark.parametrize("seed", range(6))
def test_whoever_is_killed_or_comes_in_between(folder: Folder, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """By whichever columns: each row is in a table, and in none of them twice."""
    chance, sent = random.Random(seed), set[tuple[str, int]]()

    with monkeypatch.context() as patch:
        attempt = disturb(patch, chance, lambda: folder.take(chance.choice([BEFORE, MENDED])), deaths=0.15, rivals=0.3)
        for number in range(8):
            lines = [chance.choice([GOOD, ONCE, ONCE, BAD]) for _ in range(chance.randint(1, 4))]
            folder.send(f"{number}", *lines)
            sent |= {(f"{number}.jsonl", row) for row in range(len(lines))}
            attempt()
    folder.take(MENDED)
    good, bad = folder.held()
    assert {*good, *bad} == sent
    assert len(good) == len({*good})
    assert len(bad) == len({*bad})

"""Rank 0's side: it starts the others, brings them together, and notices within seconds when one of them is gone."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, Self

from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.train import Distributed
from tradewind_runtime.distributed import HOLD, Rendezvous
from tradewind_runtime.launchers.exchange import ERROR, beside, leave, request_path
from tradewind_runtime.launchers.lines import Line, claimed, heard
from tradewind_runtime.launchers.team import Team

_LOOK = 0.5  # seconds from one look at who has called to the next
_TEND = 5  # such looks from one look at those that have not to the next
#: Seconds that an error of this process waits for a worker's, which may be its cause.
_SETTLE = 2.0
#: Seconds that the framework has to notice that somebody is gone. Then this process ends: nothing else gets it out.
_GRACE = 5.0
_RETRYABLE, _FINAL = 3, 4  # exit codes of `python -m tradewind_runtime`


@contextmanager
def led(context: StepContext, spec: Distributed, meeting: Rendezvous) -> Iterator[None]:
    """What rank 0's training function is run in."""
    request, documents = context.request, context.lake.documents
    with Team(request, documents, "rank", spec.workers - 1, restarts=0) as team:
        lines, addresses = _assembled(team)
        with _Watch(team, lines) as watch, watch.explained(), meeting.lead(addresses) as where:
            for line in lines.values():
                line.send(where)
            # Once inside the meeting, where an error has not made the others fail yet, and once around it.
            with watch.explained(), meeting.join(where, 0, spec.workers), watch.explained():
                yield


def _assembled(team: Team) -> tuple[dict[int, Line], list[str]]:
    """A line to each rank but 0, and the addresses of all."""
    found: dict[int, Line] = {}
    addresses = {0: claimed(team.companions.host)}
    for look in count(1):
        found |= {index + 1: line for index, line in team.switchboard.calls(_LOOK)}
        for rank, line in found.items():
            if line.poll():
                word = _word(line)
                if "address" not in word:  # before it is told where to meet, it has only bad news besides
                    raise _reason(team, rank, word)
                addresses[rank] = word["address"]
        if len(addresses) == team.count + 1:
            break
        here = len(found) == team.count  # and read their rows
        if look % _TEND == 0 and not (team.companions.tend() and (here or team.waited < team.patience)):
            raise team.late(len(found))
    return found, [addresses[rank] for rank in sorted(addresses)]


class _Watch:
    """Hears the workers while this process learns."""

    def __init__(self, team: Team, lines: Mapping[int, Line]) -> None:
        self._team, self._lines = team, dict(lines)
        self._lost: StepError | None = None
        self._heard, self._told, self._over = threading.Event(), threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, name="ranks", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """An error that comes of a lost worker is that worker's; any other is this one's, and the others' then."""
        try:
            yield
        except Exception as error:
            if not self._over.is_set() and self._heard.wait(_SETTLE):
                self._told.wait()
            if self._lost is None:
                self._over.set()
                raise
            raise self._lost from error

    def _listen(self) -> None:
        try:
            found = self._cause()
            if found and not self._over.is_set():
                self._give_up(_reason(self._team, *found))
        finally:
            self._told.set()

    def _cause(self) -> tuple[int, dict[str, Any]] | None:
        """The rank that the others fail for, and its word: one that is lost, else the first with an error.

        An error may come of a loss that is heard later. One that does not makes nobody fail meanwhile, for its
        worker stays in the meeting for as long as this waits.
        """
        left, first, until = dict(self._lines), None, math.inf
        while left and not self._over.is_set() and time.monotonic() < until:
            said = heard(left.values(), _LOOK)
            for rank in [rank for rank, line in left.items() if line in said]:
                word = _word(left.pop(rank))
                if word.get("done"):
                    continue
                self._heard.set()
                if not word:
                    return rank, word
                if first is None:
                    first, until = (rank, word), time.monotonic() + HOLD - _LOOK
        return first

    def _give_up(self, reason: StepError) -> None:
        """The reason is left first of all: the framework may end this process in its own way."""
        self._lost = reason
        request, documents = self._team.request, self._team.documents
        leave(documents, beside(request_path(request), ERROR), reason.problems, retryable=reason.retryable)
        self._told.set()
        if self._over.wait(_GRACE):
            return
        print(reason, flush=True)
        self._team.companions.stop()
        os._exit(_RETRYABLE if reason.retryable else _FINAL)


def _word(line: Line) -> dict[str, Any]:
    """What a worker says; nothing where it is gone."""
    try:
        return dict(line.recv())
    except (EOFError, OSError):
        return {}


def _reason(team: Team, rank: int, word: Mapping[str, Any]) -> StepError:
    who = f"rank {rank} of {team.count + 1} workers"
    if "problems" not in word:
        how = team.companions.how(rank - 1)
        return StepError(
            "TW549", f"{who} was lost: it {how}", fix="nothing, or more `resources:`: it is tried again",
            docs="failures/train.md",
        )  # fmt: skip
    problem = Problem.model_validate(word["problems"][0])
    return StepError(
        "TW549", f"{who} failed: {problem.message}", retryable=word["retryable"], file=problem.file,
        line=problem.line, got=problem.code, fix=problem.fix, docs="failures/train.md",
    )  # fmt: skip

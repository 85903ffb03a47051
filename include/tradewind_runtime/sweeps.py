"""A sweep: which trial is tried when, and what is known of each. Its state is documents in the lake.

Trial `i` is proposed by what trials `0 … i - 2 * parallel` gave, told in their order. So the sequence does not
depend on which worker is quicker, a killed sweep goes on with the very same trials, and a slow trial holds up
nobody for long. What was proposed is written down before it is tried, a failure when it has failed, and so is that a
budget is used up: what was begun is finished, and nothing further is begun. A budget and pruning are about time, so
how many trials there are, and what a pruned one is told as, do depend on who was quicker; but each is decided once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tradewind_runtime import budgets
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.sweep import End, Ended, Trial, Usage
from tradewind_runtime.contract.tune import Search
from tradewind_runtime.trials import Trials, done
from tradewind_runtime.tuners import Tuner


@dataclass
class Sweep:
    """The trials of one `tune` request, as they are tried.

    Args:
        trials: their documents.
        tuner: told nothing yet.
        price_per_hour: of one trial, where the budget has none of its own.
    """

    trials: Trials
    tuner: Tuner
    price_per_hour: float | None = None
    over: dict[int, Trial] = field(default_factory=dict)
    ended: Ended | None = field(default=None, init=False)
    _told: int = field(default=0, init=False)
    _asked: dict[int, dict[str, Any]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.ended = self.trials.ended()

    @property
    def search(self) -> Search:
        """What the tuner is told."""
        return self.trials.search

    def ready(self, under_way: Iterable[datetime] = ()) -> Iterator[tuple[int, StepRequest]]:
        """Trials that can be started now and are not over, each given once.

        Those that an earlier attempt has finished are taken over on the way.

        Args:
            under_way: when those began that are being tried, for the budget.
        """
        while (index := len(self._asked)) < self._limit:
            known = index - 2 * self.search.parallel + 1  # trials that must be over
            if any(earlier not in self.over for earlier in range(known)):
                return
            self._tell(known)
            params = self.trials.proposal(index)
            if params is None:
                if self.ended is None and self._spent(index, under_way):
                    continue  # the limit is another one now
                pending = [self._asked[earlier] for earlier in range(max(known, 0), index)]
                params = self.trials.propose(index, self.tuner.ask(index, pending))
            if any(same == params and earlier not in self.over for earlier, same in self._asked.items()):
                return  # it is being tried, and gives this one its result
            self._asked[index] = params
            if (found := self.trials.outcome(index, params)) is None:
                yield index, self.trials.request_of(params, index)
            else:
                self.over[index] = found

    def finished(self, index: int, result: StepResult) -> Trial:
        """A trial gave a score."""
        self.over[index] = done(index, self._asked[index], result)
        return self.over[index]

    def failed(self, index: int, reason: str, *, retryable: bool, started: datetime | None = None) -> Trial:
        """A trial gave none. Whether trying again might help is for the whole sweep to know."""
        trial = Trial(
            index=index,
            params=self._asked[index],
            state="failed",
            reason=reason,
            retryable=retryable,
            started=started,
            finished=datetime.now(UTC) if started else None,
        )
        self.trials.fail(trial)
        self.over[index] = trial
        return trial

    def forget_failures(self) -> None:
        """Failures are never kept."""
        for index in self.over:
            self.trials.forget(index)

    @property
    def failures(self) -> list[Trial]:
        """Trials without a score."""
        return [trial for trial in self.over.values() if trial.state == "failed"]

    @property
    def best(self) -> Trial | None:
        """The best so far; of equals, the first."""
        return best_of(self.over.values(), self.search)

    @property
    def ended_by(self) -> End:
        """What a sweep that is over was ended by."""
        return self.ended.by if self.ended else "trials"

    def usage(self, under_way: Iterable[datetime] = ()) -> Usage:
        """What has been used, with what the trials under way have used so far."""
        now = datetime.now(UTC)
        running = [(start, now) for start in under_way]
        return budgets.used(self.over.values(), self.search, self.price_per_hour, running)

    @property
    def _limit(self) -> int:
        return min(self.search.trials, self.ended.trials) if self.ended else self.search.trials

    def _spent(self, index: int, under_way: Iterable[datetime]) -> bool:
        budget = self.search.budget
        if budget is None:
            return False
        used = self.usage(under_way)
        by = budgets.spent(budget, used)
        if by is not None:
            self.ended = self.trials.end(Ended(by=by, trials=index, usage=used))
        return by is not None

    def _tell(self, end: int) -> None:
        while self._told < end:
            self.tuner.tell(self.over[self._told])
            self._told += 1


def best_of(trials: Iterable[Trial], search: Search) -> Trial | None:
    """The best of those that were tried to their end; of pruned ones, where there is no other."""
    scored = [trial for trial in trials if trial.score is not None]
    whole = [trial for trial in scored if trial.state == "done"] or scored
    return max(whole, key=lambda trial: (search.sign * (trial.score or 0.0), -trial.index), default=None)

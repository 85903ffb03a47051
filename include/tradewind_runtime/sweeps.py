"""A sweep: which trial is tried when, and what is known of each. Its state is documents in the lake.

Trial `i` is proposed by what trials `0 … i - 2 * parallel` gave, told in their order. So the sequence does not
depend on which worker is quicker, a killed sweep goes on with the very same trials, and a slow trial holds up
nobody for long. What was proposed is written down before it is tried, a failure when it has failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.train import Hyperopt, TrainConfig
from tradewind_runtime.documents import Documents
from tradewind_runtime.tuners import Tuner


@dataclass(frozen=True)
class Trial:
    """One trial that is over."""

    index: int
    params: dict[str, Any]
    score: float | None
    reason: str | None = None
    retryable: bool = False


@dataclass
class Sweep:
    """The trials of one `tune` request."""

    request: StepRequest
    config: TrainConfig
    documents: Documents
    tuner: Tuner
    over: dict[int, Trial] = field(default_factory=dict)
    _told: int = field(default=0, init=False)
    _asked: dict[int, dict[str, Any]] = field(default_factory=dict, init=False)

    @property
    def spec(self) -> Hyperopt:
        """The YAML's block."""
        assert self.config.tune is not None
        return self.config.tune.hyperopt

    @property
    def folder(self) -> str:
        """Where its documents lie."""
        return f"sweeps/{self.request.fingerprint}"

    def ready(self) -> Iterator[tuple[int, StepRequest]]:
        """Trials that can be started now and are not over, each given once.

        Those that an earlier attempt has finished are taken over on the way.
        """
        while (index := len(self._asked)) < self.spec.trials:
            known = index - 2 * self.spec.parallel + 1  # trials that must be over
            if any(earlier not in self.over for earlier in range(known)):
                return
            self._tell(known)
            request = self.trial(index, self._ask(index))
            if (found := self._found(index, request)) is None:
                yield index, request
            else:
                self.over[index] = found

    def finished(self, index: int, result: StepResult) -> Trial:
        """A trial gave a score."""
        self.over[index] = Trial(index, self._asked[index], result.metrics["score"])
        return self.over[index]

    def failed(self, index: int, reason: str, *, retryable: bool) -> Trial:
        """A trial gave none. Whether trying again might help is for the whole sweep to know."""
        body = {"reason": reason, "retryable": retryable}
        self.documents.create(self._failure(index), json.dumps(body).encode())
        self.over[index] = Trial(index, self._asked[index], None, **body)  # type: ignore[arg-type]
        return self.over[index]

    def forget_failures(self) -> None:
        """Failures are never kept: whoever tries the sweep again may be luckier with them."""
        for index in self.over:
            self.documents.delete(self._failure(index))

    @property
    def failures(self) -> list[Trial]:
        """Trials without a score."""
        return [trial for trial in self.over.values() if trial.score is None]

    @property
    def best(self) -> Trial | None:
        """The best so far; of equals, the first."""
        sign = 1.0 if self.spec.direction == "maximize" else -1.0
        scored = [trial for trial in self.over.values() if trial.score is not None]
        return max(scored, key=lambda trial: (sign * (trial.score or 0.0), -trial.index), default=None)

    def trial(self, index: int, params: dict[str, Any]) -> StepRequest:
        """A trial's request. How many others there are does not matter to it, so a longer sweep takes it over."""
        tune = self.config.tune
        assert tune is not None
        alone = tune.model_copy(
            update={"hyperopt": tune.hyperopt.model_copy(update={"trials": 1, "parallel": 1, "max_failures": 0})}
        )
        config = self.config.model_copy(update={"tune": alone, "trial_params": params})
        return self.request.model_copy(
            update={
                "step": "trial",
                "id": f"{self.request.id}.{index:04d}",
                "config": config.model_dump(mode="json", by_alias=True),
            }
        )

    def _ask(self, index: int) -> dict[str, Any]:
        path = f"{self.folder}/{index:05d}.json"
        content = self.documents.get(path)
        if content is None:
            self.documents.create(path, json.dumps(self.tuner.ask(index)).encode())
            content = self.documents.get(path)  # another coordinator's, where it was first
            assert content is not None
        self._asked[index] = json.loads(content)
        return self._asked[index]

    def _tell(self, end: int) -> None:
        while self._told < end:
            trial = self.over[self._told]
            self.tuner.tell(trial.index, trial.params, trial.score)
            self._told += 1

    def _found(self, index: int, request: StepRequest) -> Trial | None:
        result = self.documents.get_model(request.result_path, StepResult)
        if result is not None:
            return Trial(index, self._asked[index], result.metrics["score"])
        content = self.documents.get(self._failure(index))
        return None if content is None else Trial(index, self._asked[index], None, **json.loads(content))

    def _failure(self, index: int) -> str:
        return f"{self.folder}/{index:05d}.failed.json"

"""The trials of a sweep, as the lake has them. Whoever reads these knows its state: the sweep itself, and people.

`sweeps/<fingerprint>/` holds the request, each trial's parameters before it is tried, and its failure where it has
failed. A trial that gave a score has a result, like any step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any

from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.sweep import Begun, Ended, Trial
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.contract.tune import Search, Tune
from tradewind_runtime.documents import Documents

FOLDER = "sweeps"


@dataclass(frozen=True)
class Trials:
    """The documents of one `tune` request."""

    request: StepRequest
    documents: Documents

    @cached_property
    def config(self) -> TrainConfig:
        """The request's configuration."""
        return self.request.configured(TrainConfig)

    @property
    def tune(self) -> Tune:
        """The YAML's block."""
        assert self.config.tune is not None, "the plan has this step where there is `tune:`"
        return self.config.tune

    @property
    def search(self) -> Search:
        """What the tuner is told."""
        return self.tune.search

    @property
    def folder(self) -> str:
        """Where its documents lie."""
        return f"{FOLDER}/{self.request.fingerprint}"

    def begin(self) -> None:
        """Say whose sweep this is."""
        self.documents.create_model(f"{self.folder}/begun.json", Begun(request=self.request, at=datetime.now(UTC)))

    def request_of(self, params: dict[str, Any], index: int) -> StepRequest:
        """A trial's request. How many others there are does not matter to it, so a longer sweep takes it over."""
        alone = self.config.train.model_copy(update={"distributed": None})
        config = self.config.model_copy(update={"train": alone, "tune": self.tune.alone(), "trial_params": params})
        return self.request.model_copy(
            update={
                "step": "trial",
                "id": f"{self.request.id}.{index:04d}",
                "connections": {use: id for use, id in self.request.connections.items() if use != "registry"},
                "config": config.model_dump(mode="json", by_alias=True),
            }
        )

    def proposal(self, index: int) -> dict[str, Any] | None:
        """The parameters that were proposed, if any were."""
        content = self.documents.get(f"{self.folder}/{index:05d}.json")
        return None if content is None else dict(json.loads(content))

    def propose(self, index: int, params: dict[str, Any]) -> dict[str, Any]:
        """Write down what is going to be tried; another coordinator's, where it was first."""
        self.documents.create(f"{self.folder}/{index:05d}.json", json.dumps(params).encode())
        found = self.proposal(index)
        assert found is not None, "a proposal that exists can be read"
        return found

    def outcome(self, index: int, params: dict[str, Any]) -> Trial | None:
        """What became of a trial; None while it is not over."""
        path = self.request_of(params, index).result_path
        if (result := self.documents.get_model(path, StepResult)) is not None:
            return done(index, params, result)
        return self.documents.get_model(self._failure(index), Trial)

    def fail(self, trial: Trial) -> None:
        """Keep a failure, until `forget`."""
        self.documents.create_model(self._failure(trial.index), trial)

    def forget(self, index: int) -> None:
        """Failures are never kept: whoever tries the sweep again may be luckier with them."""
        self.documents.delete(self._failure(index))

    def ended(self) -> Ended | None:
        """The budget that was used up, if one was."""
        return self.documents.get_model(f"{self.folder}/ended.json", Ended)

    def end(self, ended: Ended) -> Ended:
        """Start no further trial, ever; another's decision, where it was first."""
        self.documents.create_model(f"{self.folder}/ended.json", ended)
        found = self.ended()
        assert found is not None, "what exists can be read"
        return found

    def result(self) -> StepResult | None:
        """The whole sweep's, once it is over."""
        return self.documents.get_model(self.request.result_path, StepResult)

    def all(self, known: Mapping[int, Trial] = MappingProxyType({})) -> Iterator[Trial]:
        """Every trial that was proposed, in their order.

        Args:
            known: those that are over and need not be read again.
        """
        for index in range(self.search.trials):
            if index in known:
                yield known[index]
            elif (params := self.proposal(index)) is None:
                return
            else:
                yield self.outcome(index, params) or Trial(index=index, params=params)

    def _failure(self, index: int) -> str:
        return f"{self.folder}/{index:05d}.failed.json"


def done(index: int, params: dict[str, Any], result: StepResult) -> Trial:
    """A trial that gave a score, to its end or until it was pruned."""
    pruned = result.verdict is not None and not result.verdict.passed
    return Trial(
        index=index,
        params=params,
        state="pruned" if pruned else "done",
        score=result.metrics["score"],
        step=int(result.metrics["step"]) if pruned else None,
        reason="; ".join(result.verdict.reasons) if result.verdict and pruned else None,
        metrics={name: value for name, value in result.metrics.items() if name not in ("score", "step")},
        started=result.started,
        finished=result.finished,
    )


def newest(documents: Documents, pipeline: str, run_id: str | None = None) -> Trials | None:
    """The sweep of a pipeline that was begun last; of a run, also one that it took over from another."""
    if run_id is not None:
        pointer = documents.get(f"runs/{pipeline}/{run_id}/results/tune")
        result = documents.get_model(pointer.decode(), StepResult) if pointer else None
        if result is not None:
            begun = _begun(documents, result.fingerprint)
            return Trials(begun.request, documents) if begun else None
    found = [begun for name in documents.folders(FOLDER) if (begun := _begun(documents, name)) is not None]
    mine = [one for one in found if one.request.pipeline == pipeline and run_id in (None, one.request.run_id)]
    return Trials(max(mine, key=lambda one: one.at).request, documents) if mine else None


def _begun(documents: Documents, fingerprint: str) -> Begun | None:
    return documents.get_model(f"{FOLDER}/{fingerprint}/begun.json", Begun)

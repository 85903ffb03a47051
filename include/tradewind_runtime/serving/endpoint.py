"""What one endpoint serves on this replica: loaded models, swapped as a whole, and the answers they give."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tradewind_runtime import artefacts, frameworks
from tradewind_runtime.artefacts import Manifest
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import (
    EndpointGeneration,
    ReplicaStatus,
    generation_path,
    generations,
    latest,
    status_path,
)
from tradewind_runtime.serving.arms import Counters
from tradewind_runtime.serving.capture import Capture
from tradewind_runtime.serving.tensors import Columns, matrix

log = logging.getLogger("tradewind.serving")
#: Seconds before a generation that could not be taken is tried again, and a status that has not changed is renewed.
AGAIN, RENEW = 10.0, 4.0


class ModelFailedError(Exception):
    """The model could not answer what its own inputs allow."""


@dataclass(frozen=True)
class Loaded:
    """A verified model in memory."""

    digest: str
    manifest: Manifest
    predictor: Any = field(repr=False)

    def answer(self, sent: Columns) -> npt.NDArray[np.float64]:
        """One answer a row.

        Raises:
            BadRequestError: where the columns are not what it takes.
            ModelFailedError: where it fails at what it should take.
        """
        x = matrix(sent, self.manifest.features)
        try:
            answers = np.asarray(self.predictor.predict(x), dtype=np.float64)
        except Exception as error:
            raise ModelFailedError(f"{type(error).__name__}: {error}") from error
        if len(answers) != len(x) or not np.isfinite(answers).all():
            raise ModelFailedError("the model's answers are not one finite number for each row")
        return answers


@dataclass(frozen=True)
class Serving:
    """One generation, ready to answer. Requests hold on to the one that they began with."""

    generation: EndpointGeneration
    models: Mapping[str, Loaded]
    counters: Counters = field(repr=False)
    observed: datetime


def point(answers: npt.NDArray[np.float64]) -> list[float]:
    """One number a row, to compare arms by: the answer, or the likeliest class."""
    found: list[float] = (answers.argmax(axis=1) if answers.ndim > 1 else answers).tolist()
    return found


class ServedEndpoint:
    """Follows the generations of one endpoint. `follow` is called by one thread; `serving` is read by all."""

    def __init__(self, documents: Documents, name: str, replica: str, address: str, capture: Capture) -> None:
        self.name, self.capture = name, capture
        self._documents, self._replica, self._address = documents, replica, address
        self.serving: Serving | None = None
        self._refused: int | None = None
        self._problems: tuple[str, ...] = ()
        self._again: tuple[int, float] = (0, 0.0)
        self._written: tuple[float, ReplicaStatus | None] = (0.0, None)

    def present(self) -> bool:
        """Whether the lake is there: the generation that is served cannot be gone while it is."""
        if self.serving is None:
            return True
        return self._documents.get(generation_path(self.name, self.serving.generation.number)) is not None

    def follow(self) -> None:
        """Take the newest generation on; keep the last good one where that does not work."""
        try:
            if self.serving is None:
                self._begin()
            elif (new := latest(self._documents, self.name, self.serving.generation.number)) is not None:
                self._take(new)
            elif not self.present():
                self._problems = ("the lake is away",)
            elif self._refused is None:
                self._problems = ()
        except Exception as error:
            self._problems = (f"{type(error).__name__}: {error}"[:500],)
            log.warning("%s: %s", self.name, self._problems[0])

    def _begin(self) -> None:
        """At the start: the newest generation that verifies, since the one that was served may be an older one."""
        refused = None
        for generation in generations(self._documents, self.name):
            if self._take(generation):
                break
            if self._refused != generation.number:
                return  # it may come back: do not fall behind it
            refused = refused or self._refused
        self._refused = refused

    def _take(self, new: EndpointGeneration) -> bool:
        number, until = self._again
        if number == new.number and time.monotonic() < until:
            return False
        try:
            have = self.serving.models if self.serving else {}
            models = {digest: have.get(digest) or self._load(digest) for digest in new.digests}
        except StepError as error:
            self._again = (new.number, time.monotonic() + AGAIN)
            self._refused = None if error.retryable else new.number
            self._problems = tuple(problem.message for problem in error.problems)
            log.warning("%s: generation %d is not taken: %s", self.name, new.number, error)
            return False
        counters = Counters(self._before(new.number))
        self.serving = Serving(new, models, counters, datetime.now(UTC))
        self._refused, self._problems = None, ()
        log.info("%s: serving generation %d, by %s: %s", self.name, new.number, new.by, new.reason)
        return True

    def _load(self, digest: str) -> Loaded:
        artefact = artefacts.load(self._documents, digest)
        try:
            model = Loaded(digest, artefact.manifest, frameworks.predictor(artefact))
            model.predictor.predict(np.zeros((1, len(artefact.manifest.features))))  # the first call is slow
        except StepError:
            raise
        except Exception as error:
            raise StepError(
                "TW568", f"artefact {digest[:12]} verifies but does not load: {error}", retryable=False
            ) from error
        return model

    def _before(self, number: int) -> Mapping[str, Any]:
        """What this replica counted of a generation before it was started again."""
        status = self._documents.get_model(status_path(self.name, self._replica), ReplicaStatus)
        return status.arms if status is not None and status.generation == number else {}

    # Status -----------------------------------------------------------------------------------

    def status(self, *, stopped: bool = False) -> ReplicaStatus:
        """What this replica says of itself now."""
        serving = self.serving
        return ReplicaStatus(
            endpoint=self.name,
            replica=self._replica,
            stopped=stopped,
            address=self._address,
            written=datetime.now(UTC),
            generation=serving.generation.number if serving else 0,
            observed=serving.observed if serving else None,
            refused=self._refused,
            arms=serving.counters.status() if serving else {},
            captured=self.capture.captured,
            dropped=self.capture.dropped,
            closed=self.capture.until(),
            problems=self._problems,
        )

    def tell(self, *, stopped: bool = False) -> None:
        """Write the status, where it has changed or is about to look stale."""
        status = self.status(stopped=stopped)
        when, before = self._written
        clocks = {"written": status.written, "closed": status.closed}
        same = before is not None and before.model_copy(update=clocks) == status
        if same and time.monotonic() - when < RENEW:
            return
        if self.present():
            self._documents.put(status_path(self.name, self._replica), status.model_dump_json().encode())
            self._written = (time.monotonic(), status)

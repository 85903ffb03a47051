"""Asking for a retraining: a document for each endpoint, digest and window, created once.

The asset event only wakes the pipeline (Airflow may lose one); the run takes all that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import AwareDatetime

from tradewind_runtime.contract.base import Frozen, Slug
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import Digest


class RetrainRequest(Frozen):
    """Why, for which model and by which window a pipeline should train again."""

    pipeline: Slug
    endpoint: Slug
    digest: Digest
    window: Window
    reason: str
    created: AwareDatetime

    @property
    def key(self) -> str:
        """One for each endpoint, digest and window."""
        return f"{self.endpoint}-{self.digest[:12]}-{self.window.key}"

    @property
    def path(self) -> str:
        """Where it lies, below the lake."""
        return f"retraining/{self.pipeline}/{self.key}.json"


class Taken(Frozen):
    """The run that answers a request."""

    run_id: str
    taken: AwareDatetime


def ask(documents: Documents, request: RetrainRequest) -> bool:
    """Create the request; False where the same was asked for before."""
    return documents.create_model(request.path, request)


def waiting(documents: Documents, pipeline: str) -> list[RetrainRequest]:
    """Requests that no run has taken."""
    return [request for request, taken in _all(documents, pipeline) if taken is None]


def take(documents: Documents, pipeline: str, run_id: str) -> list[RetrainRequest]:
    """All open requests, for this run alone; a retry of the run gets what it took before."""
    mine = []
    for request, taken in _all(documents, pipeline):
        if taken is None:
            path = _taken_path(request.path)
            documents.create_model(path, Taken(run_id=run_id, taken=datetime.now(UTC)))
            taken = documents.get_model(path, Taken)  # noqa: PLW2901 - whoever was first
        if taken is not None and taken.run_id == run_id:
            mine.append(request)
    return mine


def union(requests: Iterable[RetrainRequest]) -> Window | None:
    """The smallest window that holds all of theirs."""
    whole: Window | None = None
    for request in requests:
        whole = request.window if whole is None else whole.union(request.window)
    return whole


def _taken_path(path: str) -> str:
    return f"{path.removesuffix('.json')}.taken.json"


def _all(documents: Documents, pipeline: str) -> list[tuple[RetrainRequest, Taken | None]]:
    names = list(documents.names(f"retraining/{pipeline}"))
    found = []
    for path in names:
        if path.endswith(".taken.json"):
            continue
        request = documents.get_model(path, RetrainRequest)
        if request is not None:
            found.append((request, documents.get_model(_taken_path(path), Taken)))
    return found

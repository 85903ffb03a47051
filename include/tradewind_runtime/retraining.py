"""Asking for a retraining: a document for each endpoint, digest and window, created once.

The asset event only wakes the pipeline (Airflow may lose one); the run takes all that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    return [request for request, takings in _all(documents, pipeline) if not takings]


def take(
    documents: Documents, pipeline: str, run_id: str, failed: Callable[[str], bool] = lambda _: False
) -> list[RetrainRequest]:
    """All open requests, for this run alone; a retry of the run gets what it took before.

    Args:
        documents: of the lake.
        pipeline: whose requests.
        run_id: of the run that takes them.
        failed: whether a run that has taken one before will never answer it.
    """
    mine = []
    for request, takings in _due(documents, pipeline, run_id, failed):
        newest = takings[-1] if takings else None
        if newest is None or newest.run_id != run_id:
            path = _taken_path(request.path, len(takings) + 1)
            documents.create_model(path, Taken(run_id=run_id, taken=datetime.now(UTC)))
            newest = documents.get_model(path, Taken) or newest  # whoever was first
        if newest is not None and newest.run_id == run_id:
            mine.append(request)
    return mine


def due(
    documents: Documents, pipeline: str, run_id: str, failed: Callable[[str], bool] = lambda _: False
) -> list[RetrainRequest]:
    """What `take` would give the run now; nothing is taken."""
    return [request for request, _ in _due(documents, pipeline, run_id, failed)]


def _due(
    documents: Documents, pipeline: str, run_id: str, failed: Callable[[str], bool]
) -> list[tuple[RetrainRequest, list[Taken]]]:
    found = _all(documents, pipeline)
    # Runs come one at a time and each takes what a failed one has left: only the last to take any can have failed.
    last = max((taking for _, takings in found for taking in takings), key=lambda one: one.taken, default=None)
    lost = last.run_id if last and last.run_id != run_id and failed(last.run_id) else run_id
    return [(request, takings) for request, takings in found if not takings or takings[-1].run_id in {run_id, lost}]


def union(windows: Iterable[Window]) -> Window | None:
    """The smallest window that holds them all."""
    whole: Window | None = None
    for window in windows:
        whole = window if whole is None else whole.union(window)
    return whole


def _taken_path(path: str, number: int) -> str:
    """Where a taking lies: the newest counts."""
    return f"{path.removesuffix('.json')}.taken-{number:04d}.json"


def _all(documents: Documents, pipeline: str) -> list[tuple[RetrainRequest, list[Taken]]]:
    """Every request with its takings, the oldest first."""
    names = list(documents.names(f"retraining/{pipeline}"))
    found = []
    for path in names:
        if ".taken-" in path:
            continue
        takings = [name for name in names if name.startswith(f"{path.removesuffix('.json')}.taken-")]
        request = documents.get_model(path, RetrainRequest)
        if request is not None:
            found.append((request, [one for name in takings if (one := documents.get_model(name, Taken))]))
    return found

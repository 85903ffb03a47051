"""What a launcher and the process that it starts exchange, by the lake: the request, the result, the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tradewind_runtime import gone
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.contract.usage import Usage
from tradewind_runtime.documents import Documents

ERROR, USAGE = "error", "usage"  # what may lie beside a request


@dataclass(frozen=True)
class Exchange:
    """One request's documents in the lake; the same wherever the step's process runs."""

    request: StepRequest
    documents: Documents

    @property
    def path(self) -> str:
        """The request's document."""
        return request_path(self.request)

    def begin(self) -> None:
        """Put the request, and forget what an attempt before has left beside it."""
        self.documents.put(self.path, self.request.model_dump_json(indent=1).encode())
        self.documents.delete(beside(self.path, ERROR))
        self.documents.delete(beside(self.path, USAGE))

    def result(self) -> StepResult | None:
        """Its result, if there is one whose tables can still be read."""
        found = self.documents.get_model(self.request.result_path, StepResult)
        return found if found is not None and gone.stands(self.documents, found) else None

    def reason(self, how: str, *, code: str = "TW590", retryable: bool = True, **details: Any) -> StepError:
        """Why there is no result: the step's own reason, else how its process ended."""
        content = self.documents.get(beside(self.path, ERROR))
        if content is None:
            what = f"step {self.request.id!r} {how}"
            if code == "TW590":
                what = f"step {self.request.id!r} {how} and left no result"
            return StepError(code, what, retryable=retryable, **{"fix": "see the log above"} | details)
        body = json.loads(content)
        problems = tuple(Problem.model_validate(problem) for problem in body["problems"])
        error = StepError(problems[0].code, problems[0].message, retryable=body["retryable"])
        error.problems = problems
        error.args = ("\n".join(str(problem) for problem in problems),)
        return error


def request_path(request: StepRequest | StepResult) -> str:
    """Where a request lies, below the lake; of a result, the one that it answers."""
    return f"runs/{request.pipeline}/{request.run_id}/requests/{request.id}-{request.fingerprint[:12]}.json"


def beside(path: str, what: str) -> str:
    """Where something about a request lies."""
    return f"{path.removesuffix('.json')}.{what}.json"


def leave(documents: Documents, path: str, problems: Iterable[Problem], *, retryable: bool) -> None:
    """Why a request failed, for whoever started it.

    Args:
        documents: of the lake.
        path: of the reason, `beside` the request.
        problems: what is wrong.
        retryable: whether trying again may help.
    """
    body = {"retryable": retryable, "problems": [problem.model_dump(mode="json") for problem in problems]}
    documents.put(path, json.dumps(body, default=str).encode())


def usage_of(documents: Documents, of: StepRequest | StepResult) -> Usage | None:
    """What the last attempt at a request used, if that is known: nothing fails for want of it."""
    try:
        return documents.get_model(beside(request_path(of), USAGE), Usage)
    except Exception:  # the store is away, or another version wrote it
        return None


def arguments(request: StepRequest) -> list[str]:
    """Of `python -m tradewind_runtime`, for a process and for a pod alike."""
    found = ["--lake", request.lake, "--request", request_path(request)]
    if lake := request.connections.get("lake"):
        found += ["--lake-connection", lake]
    return found

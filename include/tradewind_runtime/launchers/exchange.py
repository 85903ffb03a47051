"""What a launcher and the process that it starts exchange, by the lake: the request, the result, the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents


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
        """Put the request, and forget the reason of an attempt before."""
        self.documents.put(self.path, self.request.model_dump_json(indent=1).encode())
        self.documents.delete(self._error_path)

    def result(self) -> StepResult | None:
        """Its result, if there is one."""
        return self.documents.get_model(self.request.result_path, StepResult)

    def reason(self, how: str, *, code: str = "TW590", retryable: bool = True, **details: Any) -> StepError:
        """Why there is no result: the step's own reason, else how its process ended."""
        content = self.documents.get(self._error_path)
        if content is None:
            more = {"fix": "see the log above"} | details
            left = " and left no result" if code == "TW590" else ""
            return StepError(code, f"step {self.request.id!r} {how}{left}", retryable=retryable, **more)
        body = json.loads(content)
        problems = tuple(Problem.model_validate(problem) for problem in body["problems"])
        error = StepError(problems[0].code, problems[0].message, retryable=body["retryable"])
        error.problems = problems
        error.args = ("\n".join(str(problem) for problem in problems),)
        return error

    def leave(self, error: StepError) -> None:
        """The step's reason, for whoever started it."""
        problems = [problem.model_dump(mode="json") for problem in error.problems]
        self.documents.put(
            self._error_path, json.dumps({"retryable": error.retryable, "problems": problems}, default=str).encode()
        )

    @property
    def _error_path(self) -> str:
        return self.path.removesuffix(".json") + ".error.json"


def request_path(request: StepRequest) -> str:
    """Where a request lies, below the lake."""
    return f"runs/{request.pipeline}/{request.run_id}/requests/{request.id}-{request.fingerprint[:12]}.json"


def arguments(request: StepRequest) -> list[str]:
    """Of `python -m tradewind_runtime`, for a process and for a pod alike."""
    found = ["--lake", request.lake, "--request", request_path(request)]
    if lake := request.connections.get("lake"):
        found += ["--lake-connection", lake]
    return found

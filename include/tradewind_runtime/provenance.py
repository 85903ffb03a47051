"""Where a model version came from: every step of its run, back to offsets, YAML, code and environment."""

from __future__ import annotations

from typing import Any

from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.exchange import request_path, usage_of


def lineage(documents: Documents, pipeline: str, run_id: str) -> dict[str, Any]:
    """What each step of a run that is done stands on; of a step that was adopted, the request of its own run."""
    folder = f"runs/{pipeline}/{run_id}/results"
    found = {}
    for path in documents.names(folder):
        pointer = documents.get(path)
        result = documents.get_model(pointer.decode(), StepResult) if pointer else None
        if result is not None:
            found[path.removeprefix(f"{folder}/")] = _step(documents, result)
    return found


def _step(documents: Documents, result: StepResult) -> dict[str, Any]:
    request = documents.get_model(request_path(result), StepRequest)
    body: dict[str, Any] = {
        "kind": result.step,
        "run": result.run_id,
        "fingerprint": result.fingerprint,
        "outputs": {name: output.model_dump(mode="json") for name, output in result.outputs.items()},
    }
    if request is not None:
        body |= request.model_dump(mode="json", include={"config", "pins", "inputs", "window", "code", "environment"})
    if (used := usage_of(documents, result)) is not None:
        body["usage"] = used.model_dump(mode="json")
    return body

"""Which version a rollout is about: the challenger, or the one that a person asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ModelRef
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.endpoints import moves
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake
from tradewind_runtime.registries import Registration, registry

OLD, NEW = "a" * 64, "b" * 64
WHO = {"by": "test", "reason": "because"}


@pytest.fixture
def select(tmp_path: Path, lake_uri: str) -> Any:
    """The step, with two versions: the first is the champion and served, the second the challenger."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for digest in (OLD, NEW):
        registry("mlflow").register(uri, Registration(model="m", digest=digest, experiment="m", challenger=True))
    registry("mlflow").promote(uri, "m", "1")
    moves.promote(Lake(lake_uri).documents, "m", OLD, expected=0, **WHO)

    def run(run_id: str = "r", chosen: ModelRef | None = None, **config: Any) -> StepResult:
        return execute(
            StepRequest(
                step="select", id="select", pipeline="p", run_id=run_id, lake=lake_uri, refresh=run_id,
                config={"model": "m", "endpoint": "m", **config}, settings={"mlflow_uri": uri},
                inputs={"version": chosen} if chosen else {},
            )
        )  # fmt: skip

    return run


def version(result: StepResult) -> str | None:
    found = result.outputs.get("version")
    return found.version if isinstance(found, ModelRef) else None


def test_the_challenger_once(select: Any, lake_uri: str) -> None:
    assert version(select("r1")) == "2"
    moves.promote(Lake(lake_uri).documents, "m", NEW, expected=1, **WHO)
    done = select("r2")
    assert version(done) is None
    assert done.verdict is not None
    assert done.verdict.reasons == ("version 2 was rolled out before",)


def test_what_was_rolled_back_is_tried_again_when_a_person_asks(select: Any, lake_uri: str) -> None:
    documents = Lake(lake_uri).documents
    moves.promote(documents, "m", NEW, expected=1, weight=10, **WHO)
    moves.abort_canary(documents, "m", expected=2, **WHO)
    assert version(select("r1")) is None
    assert version(select("r2", again=True)) == "2"


def test_a_person_goes_back_to_any_version(select: Any, lake_uri: str) -> None:
    moves.promote(Lake(lake_uri).documents, "m", NEW, expected=1, **WHO)
    back = select("r1", wanted="1")
    assert (version(back), back.facts["replaces"]) == ("1", NEW)
    chosen = ModelRef(name="m", version="1", digest=OLD)
    assert version(select("r2", wanted="1", chosen=chosen)) == "1"  # confirmed, though it is no challenger
    served = select("r3", wanted="2")
    assert served.verdict is not None
    assert served.verdict.reasons == ("version 2 is what is served",)
    with pytest.raises(StepError, match=r"TW572.*no version 7"):
        select("r4", wanted="7")

"""The step that keeps a pipeline's tables in order, and no other pipeline's."""

from __future__ import annotations

import pytest
from tests.tradewind_runtime.tables import SCHEMA, batches, numbers

from tradewind_runtime.contract.maintenance import MaintainConfig, Maintenance
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake


def maintained(lake: str, run: str = "r1", **block: object) -> StepResult:
    config = MaintainConfig(maintenance=Maintenance.model_validate(block))
    return execute(
        StepRequest(
            step="maintain", id="maintain", pipeline="p", run_id=run, lake=lake, refresh=run,
            config=config.model_dump(mode="json"),
        )
    )  # fmt: skip


@pytest.fixture
def lake(lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Three small files each in a table of this pipeline and in one of another whose name begins like it."""
    monkeypatch.setattr("tradewind_runtime.lake.YOUNGEST", 0)
    found = Lake(lake_uri)
    for name in ("p/t", "p2/t"):
        for n in range(3):
            found.table(name).commit(found.table(name).stage(batches((0, n)), SCHEMA), schema=SCHEMA)
    return found


def test_small_files_are_put_together_and_again_is_harmless(lake: Lake, lake_uri: str) -> None:
    done = maintained(lake_uri)
    assert done.metrics == {"tables": 1, "compacted_files": 3, "deleted_files": 0}
    assert len(lake.table("p/t").snapshot().files) == 1
    assert len(lake.table("p2/t").snapshot().files) == 3
    assert numbers(lake.table("p/t")) == [0, 1, 2]
    assert maintained(lake_uri, "r2").metrics["compacted_files"] == 0


def test_old_versions_go_and_what_a_model_stands_on_stays(lake: Lake, lake_uri: str, monkeypatch) -> None:
    lake.documents.put("runs/p/r0/results/register", b"results/register/x.json")
    lake.documents.put("runs/p/r0/pins.json", b'{"tables": {"p/t": 2}}')
    maintained(lake_uri)
    monkeypatch.setattr("tradewind_runtime.contract.maintenance.LEAST", Maintenance().keep * 0)
    done = maintained(lake_uri, "r2", keep="0s", compact=False)
    assert done.metrics == {"tables": 1, "compacted_files": 0, "deleted_files": 1}
    assert done.facts == {"pinned": {"p/t": [2]}}
    assert numbers(lake.table("p/t"), 2) == [0, 1]
    assert numbers(lake.table("p/t")) == [0, 1, 2]


def test_versions_of_yesterday_cannot_go() -> None:
    with pytest.raises(ValueError, match="at least 2d"):
        Maintenance.model_validate({"keep": "1d"})

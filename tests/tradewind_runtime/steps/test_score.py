"""Batch scoring by the champion, in place of a window's earlier answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.tradewind_runtime import watched
from tests.tradewind_runtime.watched import FEATURES, append, day

from tradewind_runtime import artefacts, frameworks
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake((tmp_path / "a lake").as_uri())


def rows(number: int, count: int = 50) -> pa.Table:
    made = watched.captured("x", day(number), count, seed=number + 1, text_time=False)
    return made.select([*FEATURES, "key", "at"])


def request(lake: Lake, table: DatasetRef, digest: str | None, window: Window | None, time: str | None = "at",
            **score: object) -> StepRequest:  # fmt: skip
    return StepRequest(
        step="score", id="score", pipeline="p", run_id="r1", lake=lake.root, window=window, inputs={"table": table},
        pins={"champion": digest}, config={"score": {"keep": ["key"]} | score, "time": time},
    )  # fmt: skip


def test_a_window_is_scored_and_scored_anew(lake: Lake, tmp_path: Path) -> None:
    digest = watched.model(lake, tmp_path / "model", sample=False)
    for number in range(2):
        table = append(lake, rows(number), "p/features")
    first = execute(request(lake, table, digest, day(0)))
    execute(request(lake, table, digest, day(1)))
    assert first.metrics["rows"] == 50
    found = lake.table("p/predictions").snapshot().to_arrow()
    assert found.column_names == ["at", "key", "prediction", "_digest"]
    assert found.num_rows == 100
    x = np.column_stack([rows(0)[name].to_numpy() for name in FEATURES])
    wanted = frameworks.predictor(artefacts.load(lake.documents, digest)).predict(x)
    told = dict(zip(found["key"].to_pylist(), found["prediction"].to_pylist(), strict=True))
    assert [told[key] for key in rows(0)["key"].to_pylist()] == pytest.approx(wanted.tolist())
    lake.documents.delete(request(lake, table, digest, day(0)).result_path)  # a kill before the result was created
    assert execute(request(lake, table, digest, day(0))).outputs == first.outputs
    other = watched.model(lake, tmp_path / "other", seed=5, sample=False)
    execute(request(lake, table, other, day(0)))
    digests = lake.table("p/predictions").snapshot().to_arrow()["_digest"].to_pylist()
    assert sorted(digests) == sorted([digest] * 50 + [other] * 50)


def test_all_rows_where_there_is_no_time(lake: Lake, tmp_path: Path) -> None:
    digest = watched.model(lake, tmp_path / "model", sample=False)
    table = append(lake, rows(0), "p/features")
    for run in range(2):
        execute(request(lake, table, digest, None, None, output="all", keep=["key"] if run else []))
    assert lake.table("p/all").snapshot().count() == 50


def test_no_champion_and_no_column(lake: Lake, tmp_path: Path) -> None:
    table = append(lake, rows(0).drop_columns(["b"]), "p/features")
    with pytest.raises(StepError, match="no champion") as none:
        execute(request(lake, table, None, day(0)))
    assert not none.value.retryable
    with pytest.raises(StepError, match="no column 'b'"):
        execute(request(lake, table, watched.model(lake, tmp_path / "model", sample=False), day(0)))

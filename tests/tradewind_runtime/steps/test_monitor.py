"""Drift of what was served, judged by the real step on real artefacts and tables."""

from __future__ import annotations

import os
import signal
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.tradewind_runtime import watched
from tests.tradewind_runtime.steprun import start
from tests.tradewind_runtime.watched import append, captured, day, monitor_request

from tradewind_runtime import retraining
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ValueRef, Window
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.drift.windows import WindowDrift
from tradewind_runtime.endpoints import moves
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake((tmp_path / "a lake").as_uri())


@pytest.fixture
def digest(lake: Lake, tmp_path: Path) -> str:
    return watched.model(lake, tmp_path / "model", sample=False)  # without a sample: no report, and quick


def value(result: StepResult) -> dict[str, object]:
    output = result.outputs["drift"]
    assert isinstance(output, ValueRef)
    return output.value


def test_a_calm_window_and_one_that_drifts(lake: Lake, digest: str) -> None:
    append(lake, captured(digest, day(0), 400, seed=1))
    requests = append(lake, captured(digest, day(1), 400, seed=2, moved=["a", "b"]))
    calm = execute(monitor_request(lake, requests, day(0)))
    assert calm.verdict is not None
    assert not calm.verdict.passed
    assert "0 of 3 features drift" in calm.verdict.reasons[0]
    assert value(calm)["act"] is False
    moved = execute(monitor_request(lake, requests, day(1)))
    assert moved.verdict is not None
    assert moved.verdict.passed
    assert value(moved)["digest"] == digest
    assert value(moved)["columns"] == ["a", "b"] or value(moved)["columns"] == ["b", "a"]
    assert value(moved)["share"] == pytest.approx(2 / 3)
    assert moved.metrics["rows"] == 400
    table = lake.table("p/m_drift").snapshot().to_arrow()
    assert table.num_rows == 6
    assert sorted(table.filter(pc.field("drifting"))["feature"].to_pylist()) == ["a", "b"]


def test_the_requests_own_time_where_no_column_is_named(lake: Lake, digest: str) -> None:
    requests = append(lake, captured(digest, day(0), 400, seed=1, moved=["a"], text_time=False))
    when = Window(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 2, tzinfo=UTC))
    assert execute(monitor_request(lake, requests, when, time=None)).metrics["rows"] == 400
    assert execute(monitor_request(lake, requests, day(0), time=None)).metrics["rows"] == 0
    assert execute(monitor_request(lake, requests, day(0))).metrics["rows"] == 400


def test_patience_looks_at_each_windows_latest_result(lake: Lake, digest: str) -> None:
    drift = {"share": 0.3, "for": "2 of 3"}
    append(lake, captured(digest, day(0), 300, seed=1, moved=["a"]))
    append(lake, captured(digest, day(1), 300, seed=2))
    append(lake, captured(digest, day(2), 50, seed=3))
    requests = append(lake, captured(digest, day(3), 300, seed=4, moved=["a"]))
    acts = []
    for number in range(4):
        result = execute(monitor_request(lake, requests, day(number), drift=drift))
        acts.append(value(result)["act"])
    assert acts == [False, False, False, True]  # the third has too few rows and does not count
    late = append(lake, captured(digest, day(0), 3000, seed=5))  # late captures: the first is calm after all
    again = execute(monitor_request(lake, late, day(0), drift=drift))
    assert again.metrics["drifting"] == 0
    last = execute(monitor_request(lake, late, day(3), drift=drift))
    assert value(last)["act"] is False
    assert last.verdict is not None
    assert "1 of the last 3 windows drift" in last.verdict.reasons[0]
    rows = lake.table("p/m_drift").snapshot().to_arrow(where=pc.field("window") == day(0).key)
    assert rows.num_rows == 3  # replaced, not added


def test_too_few_rows_say_nothing_and_none_say_so(lake: Lake, digest: str) -> None:
    requests = append(lake, captured(digest, day(0), 50, seed=1, moved=["a", "b", "c"]))
    few = execute(monitor_request(lake, requests, day(0)))
    assert few.verdict is not None
    assert few.verdict.reasons == (f"model {digest[:12]}: 50 rows are too few to say anything",)
    none = execute(monitor_request(lake, requests, day(7)))
    assert none.verdict is not None
    assert not none.verdict.passed
    assert "no request came between" in none.verdict.reasons[0]
    assert value(none)["digest"] is None


def test_each_model_is_judged_by_what_it_learnt_from(lake: Lake, digest: str, tmp_path: Path) -> None:
    other = watched.model(lake, tmp_path / "other", seed=9, sample=False)
    append(lake, captured(digest, day(0), 400, seed=1, moved=["a"]))
    append(lake, captured("f" * 64, day(0), 400, seed=4, arm="shadow"))  # reached nobody; has no artefact either
    requests = append(lake, captured(other, day(0), 300, seed=2))
    for stable in (digest, other):
        moves.promote(lake.documents, "m", stable, expected=0 if stable == digest else 1, by="test", reason="test")
    then = execute(monitor_request(lake, requests, day(0), pins={"generation": 1}))
    assert value(then)["act"] is True
    assert value(then)["digest"] == digest
    assert set(value(then)["digests"]) == {digest, other}  # type: ignore[call-overload]
    now = execute(monitor_request(lake, requests, day(0), pins={"generation": 2}))
    assert value(now)["act"] is False  # what drifts was replaced in between
    assert now.verdict is not None
    assert any("does not serve any more" in reason for reason in now.verdict.reasons)


def test_labels_that_came_later(lake: Lake, digest: str) -> None:
    asked = captured(digest, day(0), 400, seed=1)
    requests = append(lake, asked)
    truth = pc.greater(asked["a"], asked["b"]).cast(pa.int64())
    known = pa.table({"key": asked["key"], "y": truth}).slice(0, 300)
    labels = append(lake, known, "p/features")
    result = execute(monitor_request(lake, requests, day(0), labels=labels, entity_key="key"))
    assert result.metrics["labelled"] == 300
    assert result.metrics["live_roc_auc"] == pytest.approx(1.0)
    (found,) = result.facts["digests"].values()
    assert found["rows"] == 400
    none = append(lake, known.slice(0, 0), "p/none")
    assert execute(monitor_request(lake, requests, day(0), labels=none, entity_key="key")).metrics["labelled"] == 0


def test_a_column_that_nobody_sent_and_a_model_without_a_profile(lake: Lake, digest: str) -> None:
    rows = captured(digest, day(0), 300, seed=1)
    requests = append(lake, rows)
    with pytest.raises(StepError, match="no column 'att'") as missing:
        execute(monitor_request(lake, requests, day(0), time="att"))
    assert missing.value.problems[0].suggestion == "at"
    (tampered,) = [path for path in lake.documents.names("models") if path.endswith("profile.json")]
    lake.documents.put(tampered, b"{}")
    with pytest.raises(StepError, match="not what its digest says"):
        execute(monitor_request(lake, requests, day(0)))


def test_the_report_is_a_page_without_network_and_the_answers_are_judged_too(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = watched.model(lake, tmp_path / "whole")
    requests = append(lake, captured(digest, day(0), 3000, seed=1, moved=["a"]))

    def refuse(*_: object) -> None:
        msg = "something wants the network"
        raise AssertionError(msg)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    result = execute(monitor_request(lake, requests, day(0)))
    assert result.metrics["prediction_psi"] > 0.2  # a moved, so the answers did
    page = lake.documents.get(result.links["Drift report"])
    assert page is not None
    assert b"<html" in page.lower()[:300]
    assert b"_prediction" in page
    assert result.links["Drift report"] == f"reports/p/m/{day(0).key}/{digest[:12]}.html"


def test_asking_for_a_retraining_once(lake: Lake, digest: str) -> None:
    requests = append(lake, captured(digest, day(0), 400, seed=1, moved=["a"]))
    found = execute(monitor_request(lake, requests, day(0))).outputs["drift"]

    def ask(run: str, drift: ValueRef) -> StepResult:
        return execute(StepRequest(
            step="request_retraining", id="request_retraining", pipeline="p", run_id=run, lake=lake.root, refresh=run,
            config={"pipeline": "p", "endpoint": "m"}, inputs={"drift": drift},
        ))  # fmt: skip

    assert isinstance(found, ValueRef)
    first, second = ask("r1", found), ask("r2", found)
    assert first.facts["requested"] == second.facts["requested"] is not None
    assert (first.facts["new"], second.facts["new"]) == (True, False)
    (waiting,) = retraining.waiting(lake.documents, "p")
    assert waiting.window == day(0)
    assert "1 of 3 features drift" in waiting.reason
    nothing = ask("r3", ValueRef(value=found.value | {"act": False}))
    assert nothing.verdict is not None
    assert not nothing.verdict.passed
    assert nothing.facts["requested"] is None


@pytest.mark.server
def test_killed_at_any_moment_it_ends_the_same(lake: Lake, digest: str) -> None:
    requests = append(lake, captured(digest, day(0), 60_000, seed=1, moved=["a"]))
    request = monitor_request(lake, requests, day(0))
    began = time.monotonic()
    process = start(request, "measured")
    assert process.wait(60) == 0, process.stderr.read() if process.stderr else ""
    whole = time.monotonic() - began
    wanted = lake.documents.get_model(request.result_path, StepResult)
    assert wanted is not None
    for part in (0.8, 0.9, 0.97):
        lake.documents.delete(request.result_path)
        process = start(request, "killed")
        time.sleep(whole * part)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    lake.documents.delete(request.result_path)
    assert start(request, "last").wait(60) == 0
    found = lake.documents.get_model(request.result_path, StepResult)
    assert found is not None
    assert found.outputs == wanted.outputs
    assert lake.table("p/m_drift").snapshot().count() == 3
    kept = [path for path in lake.documents.names("monitor/m") if path.endswith(".json")]
    assert len(kept) == 1
    assert lake.documents.get_model(kept[0], WindowDrift) is not None

"""Told once, whatever is tried again, by the real step to a receiver that speaks Slack's Web API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.slack import Receiver, given, receiver

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ModelRef, Output, ValueRef
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.endpoints import moves
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake

pytestmark = pytest.mark.server
DRIFT = ValueRef(value={
    "endpoint": "flights", "act": True, "digest": "a" * 64, "share": 0.5, "columns": ["temp"], "rows": 900,
    "features": 2, "window": {"start": "2013-06-01T00:00:00Z", "end": "2013-06-08T00:00:00Z"},
    "report": "reports/p/flights/w/a b.html",
})  # fmt: skip


@pytest.fixture(scope="module")
def slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiver(tmp_path_factory.mktemp("slack receiver")) as running, given(running.connection):
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake((tmp_path / "a lake").as_uri())


def request(lake: Lake, run: str = "r1", inputs: dict[str, Output] | None = None, **config: Any) -> StepRequest:
    return StepRequest(
        step="notify", id="tell", pipeline="p", run_id=run, lake=lake.root, refresh=run, inputs=inputs or {},
        config={"channel": "#ml"} | config, connections={"slack": "slack_default"},
    )  # fmt: skip


def tell(lake: Lake, run: str = "r1", **more: Any) -> StepResult:
    return execute(request(lake, run, **more))


def test_drift_is_told_once_whichever_run_finds_it(slack: Receiver, lake: Lake) -> None:
    before = len(slack.messages())
    links = {"link": "http://af.test/dags/p__monitor/runs/x", "reports": "http://af.test/tradewind/lake/p__monitor"}
    first = tell(lake, inputs={"drift": DRIFT}, event="drift", **links)
    again = tell(lake, "r2", inputs={"drift": DRIFT}, event="drift", **links)
    assert (first.facts["new"], again.facts["new"]) == (True, False)
    assert first.facts["ts"] == again.facts["ts"]
    (message,) = slack.messages()[before:]
    assert message["channel"] == "#ml"
    assert "flights: requests have drifted" in message["text"]
    assert "http://af.test/tradewind/lake/p__monitor/reports/p/flights/w/a%20b.html" in str(message["blocks"])
    assert message["metadata"]["event_payload"]["key"] == first.facts["key"]
    other = ValueRef(value=DRIFT.value | {"digest": "b" * 64})
    assert tell(lake, inputs={"drift": other}, event="drift").facts["new"] is True


def test_a_promotion_says_what_it_replaces(slack: Receiver, lake: Lake) -> None:
    for number, digest in enumerate(("a" * 64, "b" * 64)):
        moves.promote(lake.documents, "flights", digest, expected=number, by="t", reason="t", version=str(number + 1))
    version = ModelRef(name="flights", version="2", digest="b" * 64)
    result = tell(lake, inputs={"version": version}, event="promotion")
    assert result.facts["text"].startswith("flights: version 2 is the champion")
    assert "version 1" in str(slack.messages()[-1]["blocks"])


def test_one_that_was_refused_is_sent_by_the_retry_and_the_token_is_nowhere(
    slack: Receiver, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    before = len(slack.messages())
    slack.next("invalid_auth")
    with pytest.raises(StepError, match="invalid_auth") as refused:
        tell(lake, title="Hello", text="world")
    assert not refused.value.retryable
    slack.next("fatal_error")
    with pytest.raises(StepError, match="fatal_error") as failed:
        tell(lake, title="Hello", text="world")
    assert failed.value.retryable
    assert len(slack.messages()) == before
    assert tell(lake, title="Hello", text="world").facts["new"] is True
    assert [message["text"] for message in slack.messages()[before:]] == ["Hello\nworld"]
    token = slack.server.token
    kept = [lake.documents.get(path) or b"" for path in lake.documents.names("")]
    assert all(token.encode() not in content for content in kept)
    assert token not in caplog.text + str(refused.value) + str(failed.value) + str(slack.messages())


def test_slack_that_is_away_says_so(lake: Lake) -> None:
    with given(
        '{"conn_type": "slack", "password": "xoxb-x", "extra": {"base_url": "http://127.0.0.1:9/api/"}}', "nowhere"
    ):
        body = request(lake, title="Hello").model_copy(update={"connections": {"slack": "nowhere"}})
        with pytest.raises(StepError, match="could not be reached") as away:
            execute(body)
    assert away.value.retryable
    with given('{"conn_type": "slack"}', "empty"):
        body = request(lake, title="Hello").model_copy(update={"connections": {"slack": "empty"}})
        with pytest.raises(StepError, match="holds no token"):
            execute(body)

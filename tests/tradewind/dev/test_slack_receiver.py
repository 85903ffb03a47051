"""The receiver behaves as Slack does where Tradewind can see it, by Slack's own client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from slack_sdk.errors import SlackApiError
from tests.servers.slack import Receiver, lines, receiver

from tradewind.dev.running import start
from tradewind.dev.slack_receiver import Messages
from tradewind_runtime.connections import Connection
from tradewind_runtime.slack import client

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiver(tmp_path_factory.mktemp("slack receiver")) as running:
        yield running


def connection(slack: Receiver) -> Connection:
    return Connection.parse("slack_default", slack.connection)


def test_a_message_is_kept_before_it_is_answered_and_shown(slack: Receiver) -> None:
    api = client(connection(slack))
    assert api.auth_test()["ok"]
    text = "*all* <https://x.test/a?b=1&amp;c=2|here> &lt;b&gt;"
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
    answer = api.chat_postMessage(channel="#ml-flights", text="Hello <b>", blocks=blocks)
    assert answer["ok"]
    assert answer["channel"].startswith("C")
    kept = lines(slack.server.messages)[-1]
    assert (kept["channel"], kept["text"], kept["ts"]) == ("#ml-flights", "Hello <b>", answer["ts"])
    again = api.chat_postMessage(channel="#ml-flights", text="second")
    assert float(again["ts"]) > float(answer["ts"])
    page = httpx.get(slack.server.address, trust_env=False).text
    assert '<b>all</b> <a href="https://x.test/a?b=1&amp;c=2" rel="noreferrer">here</a> &lt;b&gt;' in page


@pytest.mark.parametrize(("token", "error"), [("", "not_authed"), ("xoxb-wrong", "invalid_auth")])
def test_only_its_own_token(slack: Receiver, token: str, error: str) -> None:
    body = {"channel": "#a", "text": "t"}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.post(f"{slack.server.address}/api/chat.postMessage", json=body, headers=headers, trust_env=False)
    assert answer.json() == {"ok": False, "error": error}
    assert httpx.post(f"{slack.server.address}/next", json=body, headers=headers, trust_env=False).json()["ok"] is False


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"channel": "", "text": "t"}, "channel_not_found"),
        ({"channel": "#a"}, "no_text"),
        ({"channel": "#a", "text": "t" * 40_001}, "msg_too_long"),
        (
            {"channel": "#a", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "h" * 151}}]},
            "invalid_blocks",
        ),
        ({"channel": "#a", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
    ],
)
def test_what_slack_refuses(slack: Receiver, message: dict[str, object], error: str) -> None:
    headers = {"Authorization": f"Bearer {slack.server.token}"}
    answer = httpx.post(f"{slack.server.address}/api/chat.postMessage", json=message, headers=headers, trust_env=False)
    assert answer.json()["error"] == error


def test_errors_on_demand(slack: Receiver) -> None:
    slack.next("channel_not_found")
    with pytest.raises(SlackApiError, match="channel_not_found"):
        client(connection(slack)).chat_postMessage(channel="#a", text="t")
    slack.next("ratelimited", retry_after=1)
    began = time.monotonic()
    assert client(connection(slack)).chat_postMessage(channel="#a", text="patient")["ok"]
    assert time.monotonic() - began >= 1
    slack.next("internal_error", status=503)
    assert client(connection(slack)).chat_postMessage(channel="#a", text="again")["ok"]


def test_killed_it_keeps_what_it_answered(slack: Receiver) -> None:
    client(connection(slack)).chat_postMessage(channel="#a", text="before")
    count = len(slack.messages())
    slack.running.kill()
    with slack.server.messages.open("ab") as file:
        file.write(b'{"ts": "17')  # half a line
    slack.running = start(slack.server)
    assert len(slack.messages()) == count
    client(connection(slack)).chat_postMessage(channel="#a", text="after")
    assert [message["text"] for message in lines(slack.server.messages)[-2:]] == ["before", "after"]


def test_its_clock_only_grows(tmp_path: Path) -> None:
    messages = Messages(tmp_path / "m.jsonl")
    stamps = [float(messages.add({"text": str(n)})["ts"]) for n in range(50)]
    assert stamps == sorted(set(stamps))

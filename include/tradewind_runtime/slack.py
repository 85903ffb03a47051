"""Slack's Web API: one message to one channel. Light: slack_sdk is imported when something is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.alerts import Message, Sent
from tradewind_runtime.contract.errors import StepError

if TYPE_CHECKING:
    from slack_sdk import WebClient

#: Answers that another try cannot change, and what to do about them.
FINAL = {
    "invalid_auth": "set the connection's password to a bot token (xoxb-…)",
    "not_authed": "set the connection's password to a bot token (xoxb-…)",
    "account_inactive": "the token's app or user was removed: make a new one",
    "token_revoked": "the token was revoked: make a new one",
    "token_expired": "make a new token",
    "missing_scope": "give the app the scope chat:write",
    "channel_not_found": "see the channel's name, and invite the app to it",
    "not_in_channel": "invite the app to the channel",
    "is_archived": "choose a channel that is not archived",
    "no_text": "give the message a text",
    "invalid_blocks": "see the blocks of the message",
    "msg_too_long": "make the message shorter",
}


def send(connection: Connection, channel: str, message: Message, *, key: str, event: str, tries: int = 4) -> Sent:
    """Post a message. `key` goes along as metadata, by which a reader can tell that two are the same.

    Args:
        connection: password: the token; extra: `base_url`, for a receiver that is not Slack.
        channel: name or id.
        message: what to say.
        key: names the event.
        event: the kind of event.
        tries: in all, where Slack is busy or the network is down.

    Raises:
        StepError: TW588 where Slack does not take it.
    """
    from slack_sdk.errors import SlackApiError, SlackClientError

    if not connection.password:
        raise StepError("TW588", f"the connection {connection.id!r} holds no token", retryable=False,
                        fix="set its password to a bot token (xoxb-…)", docs="guides/connections.md")  # fmt: skip
    try:
        answer = client(connection, tries).chat_postMessage(
            channel=channel, text=message.text, blocks=list(message.blocks), unfurl_links=False,
            metadata={"event_type": f"tradewind_{event}", "event_payload": {"key": key}},
        )  # fmt: skip
    except SlackApiError as error:
        code = str(error.response.get("error") or error.response.status_code)
        raise StepError("TW588", f"Slack refused the message to {channel}: {code}", retryable=code not in FINAL,
                        got=code, fix=FINAL.get(code, "try again later")) from None  # fmt: skip
    except (SlackClientError, OSError) as error:
        raise StepError("TW588", "Slack could not be reached", got=f"{type(error).__name__}: {error}",
                        fix="see the network, and base_url of the connection") from None  # fmt: skip
    return Sent(channel=str(answer["channel"]), ts=str(answer["ts"]))


def client(connection: Connection, tries: int = 4) -> WebClient:
    """A client that waits as long as Slack asks, and tries again where the network or the server failed."""
    from slack_sdk import WebClient
    from slack_sdk.http_retry.builtin_handlers import (
        ConnectionErrorRetryHandler,
        RateLimitErrorRetryHandler,
        ServerErrorRetryHandler,
    )
    from slack_sdk.http_retry.handler import RetryHandler

    base = str(connection.extra.get("base_url") or WebClient.BASE_URL).rstrip("/") + "/"
    again = max(tries - 1, 0)
    handlers: list[RetryHandler] = [
        ConnectionErrorRetryHandler(max_retry_count=again), RateLimitErrorRetryHandler(max_retry_count=again),
        ServerErrorRetryHandler(max_retry_count=again),
    ]  # fmt: skip
    found = WebClient(token=connection.password, base_url=base, timeout=15, retry_handlers=handlers)
    found.proxy = None  # urllib's own reading of the proxies' variables honours NO_PROXY; slack_sdk's does not
    return found

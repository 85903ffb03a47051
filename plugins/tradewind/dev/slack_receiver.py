"""A receiver that speaks Slack's Web API: where the messages of a stack on one machine go.

`python -m tradewind.dev.slack_receiver --port N --out FILE [--token-file FILE]`. Each message is a line of JSON,
on the disk before it is answered. The page at / shows them; `POST /next` makes the next answers errors.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

LOOPBACK = "127.0.0.1"
#: Slack's own limits, so that what is taken here is taken there.
MOST_BLOCKS, MOST_TEXT, MOST_HEADER, MOST_SECTION, MOST_FIELDS, MOST_FIELD = 50, 40_000, 150, 3000, 10, 2000


class Messages:
    """What was received, in a file that survives a kill."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known: list[dict[str, Any]] = []
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break  # a kill left half a line, which was never answered
                self.known.append(json.loads(line))
                whole += len(line)
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep a message; gives it with its `ts`, which only grows."""
        last = float(self.known[-1]["ts"]) if self.known else 0.0
        kept = {"ts": f"{max(time.time(), last + 1e-6):.6f}"} | body
        self._file.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.known.append(kept)
        return kept


@dataclass
class Receiver:
    """The methods of the Web API that Tradewind calls.

    Args:
        messages: where they are kept.
        token: the only one that is taken; any bot token where there is none.
        channels: the only ones that exist; any where there is none.
    """

    messages: Messages
    token: str | None = field(default=None, repr=False)
    channels: frozenset[str] = frozenset()
    planned: deque[dict[str, Any]] = field(default_factory=deque)

    def application(self) -> Starlette:
        """It, as an ASGI application."""
        return Starlette(routes=[
            Route("/", self.page), Route("/messages", self.as_json), Route("/next", self.plan, methods=["POST"]),
            Route("/api/chat.postMessage", self.post_message, methods=["POST"]),
            Route("/api/auth.test", self.auth_test, methods=["GET", "POST"]),
            Route("/api/{method}", self.unknown, methods=["GET", "POST"]),
        ])  # fmt: skip

    async def post_message(self, request: Request) -> Response:
        """Take a message, or refuse it as Slack would."""
        body = await _body(request)
        refused = _refusal(request, body, self.token) or _planned(self.planned)
        if refused is not None:
            return refused
        channel = str(body.get("channel") or "")
        if not channel or (self.channels and channel.lstrip("#") not in {name.lstrip("#") for name in self.channels}):
            return _no("channel_not_found")
        if (problem := _problem(body)) is not None:
            return _no(*problem)
        kept = self.messages.add(
            {"channel": channel} | {k: body[k] for k in ("text", "blocks", "metadata") if k in body}
        )
        return JSONResponse({"ok": True, "channel": _channel_id(channel), "ts": kept["ts"], "message": {
            "type": "message", "text": body.get("text", ""), "ts": kept["ts"], "bot_id": "B0TRADEWIND"}})  # fmt: skip

    async def auth_test(self, request: Request) -> Response:
        """Whose token this is."""
        refused = _refusal(request, await _body(request), self.token) or _planned(self.planned)
        who = {"ok": True, "url": str(request.base_url), "team": "Tradewind", "user": "tradewind",
               "team_id": "T0TRADEWIND", "user_id": "U0TRADEWIND", "bot_id": "B0TRADEWIND"}  # fmt: skip
        return refused or JSONResponse(who)

    async def unknown(self, request: Request) -> Response:
        """Any other method."""
        return _no("unknown_method", request.path_params["method"])

    async def plan(self, request: Request) -> Response:
        """`{"error": "ratelimited", "retry_after": 1, "times": 2}`: what is answered instead, next."""
        body = await _body(request)
        if (refused := _refusal(request, body, self.token)) is not None:
            return refused
        self.planned.extend([body] * int(body.get("times") or 1))
        return JSONResponse({"ok": True, "planned": len(self.planned)})

    async def page(self, _: Request) -> Response:
        """What was received, for people."""
        return HTMLResponse(_page(self.messages.known))

    async def as_json(self, _: Request) -> Response:
        """What was received, for programs."""
        return JSONResponse(self.messages.known)


# Slack's manners -----------------------------------------------------------------------------------------------


async def _body(request: Request) -> dict[str, Any]:
    content = await request.body()
    if not request.headers.get("content-type", "").startswith("application/json"):
        form = await request.form()
        found = {name: value for name, value in form.items() if isinstance(value, str)}
        return {k: json.loads(v) if k in ("blocks", "metadata") else v for k, v in found.items()}
    body = json.loads(content or b"{}")
    return body if isinstance(body, dict) else {}


def _refusal(request: Request, body: dict[str, Any], token: str | None) -> Response | None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip() or str(body.get("token") or "")
    if not given:
        return _no("not_authed")
    right = secrets.compare_digest(given.encode(), token.encode()) if token else given.startswith("xoxb-")
    return None if right else _no("invalid_auth")


def _planned(planned: deque[dict[str, Any]]) -> Response | None:
    if not planned:
        return None
    body = planned.popleft()
    error = str(body.get("error", "internal_error"))
    if error == "ratelimited":
        return JSONResponse({"ok": False, "error": error}, 429, {"Retry-After": str(int(body.get("retry_after", 1)))})
    return JSONResponse({"ok": False, "error": error}, int(body.get("status", 200)))


def _no(error: str, detail: str = "") -> Response:
    more = {"response_metadata": {"messages": [detail]}} if detail else {}
    return JSONResponse({"ok": False, "error": error} | more)


def _problem(body: dict[str, Any]) -> tuple[str, str] | None:
    blocks, text = body.get("blocks") or [], str(body.get("text") or "")
    if not text and not blocks:
        return "no_text", ""
    if len(text) > MOST_TEXT:
        return "msg_too_long", ""
    if not isinstance(blocks, list) or len(blocks) > MOST_BLOCKS:
        return "invalid_blocks", f"no more than {MOST_BLOCKS} items allowed"
    wrong = next((number for number, block in enumerate(blocks) if not _fits(block)), None)
    return None if wrong is None else ("invalid_blocks", f"[ERROR] see /blocks/{wrong}")


def _fits(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    text = block.get("text") or {}
    if block.get("type") == "header":
        return text.get("type") == "plain_text" and 0 < len(text.get("text", "")) <= MOST_HEADER
    if block.get("type") == "section":
        fields = block.get("fields") or []
        sizes = all(0 < len(field.get("text", "")) <= MOST_FIELD for field in fields)
        return bool(
            (text or fields) and len(text.get("text", "")) <= MOST_SECTION and len(fields) <= MOST_FIELDS and sizes
        )
    if block.get("type") == "context":
        return 0 < len(block.get("elements") or []) <= MOST_FIELDS
    return block.get("type") in ("divider", "actions", "image", "rich_text")


def _channel_id(channel: str) -> str:
    """Slack answers with an id; made of the name here, so that it stays the same."""
    return (
        channel
        if re.fullmatch(r"[CGD][A-Z0-9]{8,}", channel)
        else "C" + channel.lstrip("#").upper().replace("-", "")[:10]
    )


# The page ------------------------------------------------------------------------------------------------------

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1d1c1d}
article{border-left:4px solid #36c5f0;margin:1rem 0;padding:.2rem 1rem;background:#f8f8f8}small{color:#616061}
h3{margin:.2rem 0}dl{display:grid;grid-template-columns:1fr 1fr;gap:.3rem 1rem;margin:.3rem 0}pre{white-space:pre-wrap;
font:inherit;margin:.3rem 0}"""


def _page(known: list[dict[str, Any]]) -> str:
    shown = "".join(_article(message) for message in reversed(known[-200:])) or "<p>No message yet.</p>"
    head = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>Slack receiver</title>'
    return f"{head}<style>{_STYLE}</style><h1>Messages ({len(known)})</h1>{shown}"


def _article(message: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(message["ts"])))
    head = f"<small>{html.escape(message['channel'])} · {at} UTC</small>"
    body = (
        "".join(_block(block) for block in message.get("blocks") or [])
        or f"<pre>{html.escape(message.get('text', ''))}</pre>"
    )
    return f"<article>{head}{body}</article>"


def _block(block: dict[str, Any]) -> str:
    text = (block.get("text") or {}).get("text", "")
    if block.get("type") == "header":
        return f"<h3>{html.escape(text)}</h3>"
    fields = "".join(f"<div><pre>{_markdown(field.get('text', ''))}</pre></div>" for field in block.get("fields") or [])
    elements = " ".join(_markdown(element.get("text", "")) for element in block.get("elements") or [])
    body = f"<pre>{_markdown(text)}</pre>" if text else ""
    return body + (f"<dl>{fields}</dl>" if fields else "") + f"<small>{elements}</small>"


def _markdown(text: str) -> str:
    """Slack's own marks: bold, and links to web pages only."""
    plain = html.escape(html.unescape(re.sub(r"<(https?://[^|>]+)\|([^>]+)>", "\x00\\1\x01\\2\x02", text)))
    linked = re.sub("\x00(.*?)\x01(.*?)\x02", r'<a href="\1" rel="noreferrer">\2</a>', plain)
    return re.sub(r"\*([^*\n]+)\*", r"<b>\1</b>", linked)


def main() -> None:
    """Serve until it is stopped."""
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the file that keeps the messages")
    parser.add_argument("--token-file", type=Path, help="holds the one token that is taken")
    parser.add_argument("--channels", default="", help="comma-separated; any where it is not given")
    options = parser.parse_args()
    token = options.token_file.read_text().strip() if options.token_file else None
    channels = frozenset(name for name in options.channels.split(",") if name)
    app = Receiver(Messages(options.out), token, channels).application()
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()

"""An HTTP API of orders, which gives them in every usual way, and does wrong where a test wants it to."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.servers.loopback import JsonHandler, served

Script = Callable[["Handler"], None]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    at: float


@dataclass
class Shop:
    """What is on offer, and what was asked."""

    rows: list[Any] = field(default_factory=list)
    address: str = ""
    script: deque[Script] = field(default_factory=deque)  # what answers the next requests instead
    asked: list[Asked] = field(default_factory=list)
    pause: float = 0.0  # before each answer
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connection(self, **more: Any) -> str:
        """As Airflow hands it to a step."""
        return json.dumps({"conn_type": "http", "host": f"{self.address}/v1"} | more)

    def queries(self) -> list[dict[str, str]]:
        """Of all requests, in order; they are forgotten."""
        found = [one.query for one in self.asked]
        self.asked.clear()
        return found

    def found(self, query: Mapping[str, str]) -> list[Any]:
        """Rows, as far as they are asked for; whoever asks for those after a moment gets those of the moment too."""
        rows = self.rows
        if moment := query.get("updated_after"):
            rows = [row for row in rows if _moment(row["at"]) >= _moment(moment)]
        if number := query.get("since_id"):
            rows = [row for row in rows if row["id"] >= int(number)]
        return rows


@dataclass(frozen=True)
class Want:
    """What is to be given, and in what parts."""

    rows: list[Any]
    query: dict[str, str]
    size: int

    def part(self, start: int) -> list[Any]:
        return self.rows[start : start + self.size]

    def after(self, start: int) -> bool:
        """Whether more comes after a part."""
        return start + self.size < len(self.rows)


class Handler(JsonHandler):
    """One way of giving pages for each path."""

    shop: Shop

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with self.shop.lock:
            self.shop.asked.append(Asked(parts.path, query, dict(self.headers), time.monotonic()))
            scripted = self.shop.script.popleft() if self.shop.script else None
        time.sleep(self.shop.pause)
        if scripted is not None:
            scripted(self)
            return
        way = getattr(self, parts.path.rpartition("/")[2], None)
        if not parts.path.startswith("/v1/") or way is None:
            self.say(404, {"message": "no such page"})
            return
        way(Want(self.shop.found(query), query, int(query.get("limit", 10))))

    def give(self, body: Any, status: int = 200, **headers: str) -> None:
        """An answer with headers; bytes and texts as they are."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        content = text.encode() if isinstance(text, str) else text
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def whole(self, want: Want) -> None:
        """All at once, in a list."""
        self.give(want.rows)

    def inside(self, want: Want) -> None:
        """All at once, within something."""
        self.give({"data": {"items": want.rows or None}})

    def number(self, want: Want) -> None:
        self.give(want.part((int(want.query["page"]) - 1) * want.size))

    def more(self, want: Want) -> None:
        """By the number, from 0; it says whether there is more."""
        start = int(want.query["p"]) * want.size
        self.give({"data": {"items": want.part(start)}, "has_more": want.after(start)})

    def offset(self, want: Want) -> None:
        """Never more than 7 at once, whatever is asked."""
        self.give(want.part(int(want.query["offset"]))[:7])

    def cursor(self, want: Want) -> None:
        start = int(want.query.get("page_token", "at-0").removeprefix("at-"))
        following = f"at-{start + want.size}" if want.after(start) else None
        self.give({"data": {"items": want.part(start)}, "meta": {"next": following}})

    def link(self, want: Want) -> None:
        """By the header."""
        page, link = self._following(want)
        first = '</v1/link>; rel="first"'
        self.give(page, Link=f'{first}, <{self.shop.address}{link}>; rel="next"' if link else first)

    def next(self, want: Want) -> None:
        """By an address in the body, without its host."""
        page, link = self._following(want)
        self.give({"data": {"items": page}, "links": {"next": link}})

    def lines(self, want: Want) -> None:
        """JSON lines, by the header."""
        page, link = self._following(want)
        text = "".join(f"{json.dumps(row)}\n" for row in page)
        self.give(text, **({"Link": f'<{link}>; rel="next"'} if link else {}))

    def csv(self, want: Want) -> None:
        """Rows that are lines already, below a header."""
        page, link = self._following(want)
        self.give("\r\n".join(["id,name,at", *page]), **({"Link": f'<{link}>; rel="next"'} if link else {}))

    def _following(self, want: Want) -> tuple[list[Any], str | None]:
        start = int(want.query.get("from", 0))
        link = f"{self.path.partition('?')[0]}?{urlencode(want.query | {'from': start + want.size})}"
        return want.part(start), link if want.after(start) else None


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def says(body: Any, status: int = 200, **headers: str) -> Script:
    """What answers a request instead."""
    return lambda handler: handler.give(body, status, **headers)


def cuts(handler: Handler) -> None:
    """Half an answer, and the end of the connection."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'[{"id": 1}')
    handler.close_connection = True


@contextmanager
def opened(tls: ssl.SSLContext | None = None) -> Iterator[Shop]:
    """A shop on the loopback."""
    shop = Shop()
    with served(Handler, tls, shop=shop) as address:
        shop.address = address
        yield shop

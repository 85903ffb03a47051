"""Pages of an HTTP API, one after the other, until there is no more."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.http import HttpPage, HttpSource
from tradewind_runtime.sources.http_client import Api, shown
from tradewind_runtime.sources.http_rows import Answers, Page

log = logging.getLogger("tradewind")


def pages(http: HttpSource, api: Api, answers: Answers, asked: Mapping[str, str]) -> Iterator[Page]:
    """All of them, each asked for when the one before has been taken.

    Args:
        http: the source.
        api: whom to ask.
        answers: takes their rows out.
        asked: query parameters besides those of the YAML.

    Raises:
        StepError: TW533 where they have no end, or lead elsewhere; others of asking.
    """
    way = http.page
    if way is None:
        page = answers.page(api.get(api.address(http.path, {**http.params, **asked})))
        if page.answer.next:
            raise StepError(
                "TW533", "the API has more pages, and the YAML does not say how they follow", retryable=False,
                got=shown(page.answer.url), expected="page: {by: link}", fix="add http.page",
            )  # fmt: skip
        yield page
        return
    turn = _Turn(way, api)
    params = {**http.params, **asked, **turn.params()}
    if way.size_parameter:
        params[way.size_parameter] = str(way.size)
    url: httpx.URL | None = api.address(http.path, params)
    for _ in range(way.most):
        assert url is not None, "the last page has been left"
        page = answers.page(api.get(url))
        yield page
        if not turn.seen and way.next and way.size and len(page.rows) >= way.size and not page.has(way.next):
            log.warning("a full first page has nothing at %r: where it is wrong, the next ones are not read", way.next)
        url = turn.next(url, page)
        if url is None:
            return
    raise StepError(
        "TW533", f"the API has more than {way.most} pages", retryable=False, got=shown(url) if url else None,
        fix="ask for larger pages (page.size), or raise page.most; nothing of this run has been taken in",
    )  # fmt: skip


@dataclass
class _Turn:
    """Where the next page is."""

    way: HttpPage
    api: Api
    place: int = 0  # of the page: its number, or the rows before it
    seen: set[bytes] = field(default_factory=set)  # addresses, or the last page, as digests

    def __post_init__(self) -> None:
        if self.way.by == "number":
            self.place = 1 if self.way.first is None else self.way.first

    def params(self) -> dict[str, str]:
        """What the first page is asked for by."""
        return {self.way.takes: str(self.place)} if self.way.by in ("number", "offset") else {}

    def next(self, url: httpx.URL, page: Page) -> httpx.URL | None:
        """After a page; None after the last.

        Raises:
            StepError: TW533 where it has been there, or is not of this API.
        """
        if self.way.by in ("link", "cursor"):
            return self._pointed(url, page)
        more = bool(page.beside(self.way.next)) if self.way.next else bool(page.rows)
        if not more:
            return None
        found = _digest(*page.rows)
        if found in self.seen or not (page.rows or self.way.by == "number"):
            raise self._again(url, "the rows of the page before it")
        self.seen = {found} if page.rows else set()
        self.place += 1 if self.way.by == "number" else len(page.rows)
        return url.copy_set_param(self.way.takes, self.place)

    def _pointed(self, url: httpx.URL, page: Page) -> httpx.URL | None:
        """By what the page itself says."""
        found = page.beside(self.way.next) if self.way.next else page.answer.next
        if found is None or found is False or found == "":
            return None
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise StepError(
                "TW533", f"what stands at {self.way.next!r} leads to no page", retryable=False,
                got=type(found).__name__, expected="a text or a number", fix="mend page.next",
            )  # fmt: skip
        target = self._target(url, page, found)
        self.seen.add(_digest(str(url).encode()))
        if _digest(str(target).encode()) in self.seen:
            raise self._again(target, "a page that was read before")
        return target

    def _target(self, url: httpx.URL, page: Page, found: Any) -> httpx.URL:
        if self.way.by == "cursor":
            return url.copy_set_param(self.way.takes, str(found))
        return self.api.at(str(found), page.answer.url, "the next page")

    def _again(self, url: httpx.URL, what: str) -> StepError:
        return StepError(
            "TW533", f"the pages go round: the API gives {what}", retryable=False, got=shown(url),
            fix="see page.by, page.parameter and page.next; nothing of this run has been taken in",
        )  # fmt: skip


def _digest(*texts: bytes) -> bytes:
    found = hashlib.sha256()
    for text in texts:
        found.update(b"%d:" % len(text))
        found.update(text)
    return found.digest()

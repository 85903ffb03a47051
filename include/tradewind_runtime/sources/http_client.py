"""One HTTP API for one attempt: asked no faster than it wants, patiently, and with its secrets for nobody else."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NoReturn

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.http_login import Login

TRIES = 8  # of one request
BACKOFF = wait_exponential(multiplier=0.5, max=30.0) + wait_random(0.0, 0.5)  # where the API does not say how long
LONGEST = 120.0  # seconds that an API may ask to wait, or take for one answer
PATIENCE = 60.0  # seconds without a byte
LARGEST = 64 * 1024 * 1024  # bytes of one answer, unpacked
REDIRECTS = 5
SAID = 16_384  # bytes of a refusal that are looked at
_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_WHOLE = {HTTPStatus.OK, HTTPStatus.NO_CONTENT}
_LOGIN = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

log = logging.getLogger("tradewind")
logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells each address, with what is secret in it


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    url: httpx.URL  # that it is of, without what is secret
    body: bytes | None  # None where the API says that there is none
    next: str | None  # of its header Link


class _LaterError(Exception):
    """It may be answered later."""

    def __init__(self, told: StepError, after: float | None = None) -> None:
        super().__init__(str(told))
        self.told, self.after = told, after


@dataclass
class Api:
    """An API at the address of a connection. What it is asked for lies there and nowhere else."""

    client: httpx.Client
    login: Login
    pause: float  # seconds between requests
    _free: float = field(default=0.0, init=False)

    def address(self, path: str, params: Mapping[str, str]) -> httpx.URL:
        """Below the connection's."""
        root = str(self.login.address).rstrip("/")
        return httpx.URL(f"{root}{path}", params=dict(params))

    def at(self, link: str, base: httpx.URL, what: str) -> httpx.URL:
        """What an answer points to.

        Args:
            link: as it has it, whole or relative.
            base: the answer's own address.
            what: a name for it.

        Raises:
            StepError: TW533 where it is not of this API: whoever is there would be told its secrets.
        """
        try:
            url = base.join(link)
            found = f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}"
        except (httpx.InvalidURL, ValueError, TypeError):
            raise StepError("TW533", f"{what} is no address", retryable=False, got=self.login.hide(link[:80])) from None
        if _origin(url) != _origin(self.login.address):
            raise StepError(
                "TW533", f"{what} leads to another host", retryable=False, got=found,
                expected=shown(self.login.address.copy_with(path="/")),
                fix="the API's secrets are for the connection's address alone: mend it, if the API has moved",
            )  # fmt: skip
        return url.copy_with(userinfo=b"", fragment=None)

    def get(self, url: httpx.URL) -> Answer:
        """What lies there, also where it was moved to within the API.

        Raises:
            StepError: TW525 where there is no answer, or a refusal; TW532 where it is too large; TW533 where it was
                moved elsewhere.
        """
        for _ in range(REDIRECTS + 1):
            found = self._patiently(url)
            if isinstance(found, Answer):
                return found
            url = self.at(found, url, "a redirect")
        raise StepError("TW533", f"{REDIRECTS} redirects lead to more of them", retryable=False, got=shown(url))

    def _patiently(self, url: httpx.URL) -> Answer | str:
        retrying = Retrying(
            retry=retry_if_exception_type(_LaterError),
            stop=stop_after_attempt(TRIES),
            wait=_wait,
            before_sleep=_tell,
            reraise=True,
        )
        try:
            return retrying(self._once, url)
        except _LaterError as error:
            raise error.told from None

    def _once(self, url: httpx.URL) -> Answer | str:
        """An answer, or where it is to be asked for."""
        time.sleep(max(0.0, self._free - time.monotonic()))
        self._free = time.monotonic() + self.pause
        try:
            with self.client.stream("GET", self.login.on(url)) as response:
                if response.has_redirect_location:
                    return response.headers["Location"]
                if response.status_code == HTTPStatus.ACCEPTED:
                    raise _LaterError(
                        StepError("TW525", "the API has not made its answer yet (202)", got=shown(url), fix="try again")
                    )
                if response.status_code not in _WHOLE:
                    self._refuse(response, url)
                links = [link["url"] for link in response.links.values() if "next" in link.get("rel", "").split()]
                none = response.status_code == HTTPStatus.NO_CONTENT
                return Answer(url, None if none else self._body(response, url), links[0] if links else None)
        except httpx.RequestError as error:
            said = self.login.hide(f"{type(error).__name__}: {error}")
            told = StepError(
                "TW525", f"the API does not answer: {said[:300]}", got=shown(url), fix="is it up? See the connection",
                retryable="CERTIFICATE_VERIFY_FAILED" not in said,
            )  # fmt: skip
            raise (_LaterError(told) if told.retryable else told) from None

    def _body(self, response: httpx.Response, url: httpx.URL) -> bytes:
        found = bytearray()
        until = time.monotonic() + LONGEST
        for block in response.iter_bytes():
            found += block
            if len(found) > LARGEST:
                raise StepError(
                    "TW532", f"an answer has more than {LARGEST // 1024 // 1024} MiB", retryable=False,
                    got=shown(url), fix="ask for smaller pages: page.size",
                )  # fmt: skip
            if time.monotonic() > until:
                msg = f"an answer took more than {LONGEST:.0f} s"
                raise httpx.ReadTimeout(msg)
        return bytes(found)

    def _refuse(self, response: httpx.Response, url: httpx.URL) -> NoReturn:
        """Raise what an answer means that is none."""
        status, said = response.status_code, b""
        for block in response.iter_bytes():
            said += block
            if len(said) >= SAID:
                break
        line = self.login.hide(" ".join(said[:SAID].decode("utf-8", "replace").split()))[:200]
        again = status in _AGAIN or response.is_server_error
        told = StepError(
            "TW525", f"the API answers {status}: {line or response.reason_phrase}", retryable=again,
            got=shown(url), fix=_fix(status),
        )  # fmt: skip
        if not again:
            raise told
        after = _after(response.headers.get("Retry-After"))
        if after is not None and after > LONGEST:
            raise StepError(
                "TW525", f"the API asks to wait {after:.0f} s", got=shown(url), expected=f"{LONGEST:.0f} s at most",
                fix="ask it less often: http.rate, or the pipeline's schedule",
            )  # fmt: skip
        raise _LaterError(told, after)


@contextmanager
def opened(connection: Connection | None, pause: float) -> Iterator[Api]:
    """An API.

    Raises:
        StepError: TW525 where the connection is none of an API.
    """
    login = Login.of(connection)
    limits = httpx.Timeout(PATIENCE, connect=20.0)
    with httpx.Client(auth=login.auth, headers=login.headers, timeout=limits, verify=login.trusted) as client:
        yield Api(client, login, pause)


def shown(url: httpx.URL) -> str:
    """An address as it may be told: of its query, names alone."""
    names = "&".join(f"{name}=…" for name in dict.fromkeys(url.params))
    return f"{url.scheme}://{url.netloc.decode()}{url.path}{f'?{names}' if names else ''}"


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _fix(status: int) -> str:
    if status in _LOGIN:
        return "mend the connection's login, token, headers or params, and what they may see"
    return "see path, params and page in the YAML, and the connection's address" if status < 500 else "is it up?"


def _after(text: str | None) -> float | None:
    """Seconds, of a header Retry-After: seconds or a moment."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after = error.after if isinstance(error, _LaterError) else None
    return BACKOFF(state) if after is None else after


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    seconds = state.next_action.sleep if state.next_action else 0.0
    log.info("waiting %.1f s: %s", seconds, str(error).partition("\n")[0])

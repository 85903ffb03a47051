"""Files of a web server: `https://host/path/file.csv`, by GET and HEAD. It lists nothing, so there are no globs.

A redirect is followed, but not from https to http, nor from a public address into a private network: whoever may say
where a file is must not have us ask what only we can reach. The connection's login goes to its own address alone.
"""

from __future__ import annotations

import ipaddress
import socket
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import SplitResult, quote, urlsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.http_client import shown

TYPES = frozenset({"http", "https"})
REDIRECTS = 10
TRIES = 5  # of one request
PATIENCE = httpx.Timeout(60.0, connect=20.0)  # seconds without a byte
_PORTS = {"http": 80, "https": 443}
_NEVER = datetime.fromtimestamp(0, UTC)


def opened(address: SplitResult, connection: Connection | None) -> Site:
    """A server; with the login and headers of a connection, which go to its own scheme, host and port alone.

    Raises:
        ValueError: where the connection is of another address.
    """
    headers: dict[str, str] = {}
    if connection is not None:
        own = urlsplit(connection.http())
        if _origin(own) != _origin(address):
            scheme, host, port = _origin(own)
            msg = f"it is one of {scheme}://{host}:{port}" if host else "it is one of no host"
            raise ValueError(msg)
        headers = _headers(connection)
    trusted = httpx.create_ssl_context()
    trusted.load_default_certs()  # this machine's authorities too
    client = httpx.Client(timeout=PATIENCE, verify=trusted, headers={"Accept-Encoding": "identity"})
    return Site(httpx.URL(f"{address.scheme}://{address.netloc}"), client, headers)


@dataclass(frozen=True)
class Site:
    """A web server as a store."""

    root: httpx.URL
    client: httpx.Client
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def head(self, path: str) -> Mapping[str, Any]:
        """What it says of a file.

        Raises:
            FileNotFoundError: where there is none.
            OSError: where it does not answer, or refuses.
            StepError: TW533 where a redirect leads to where none may.
        """
        found = self._file("HEAD", path)
        found.close()
        return found.meta

    def get(self, path: str) -> File:
        """A file, to be streamed, then closed."""
        return self._file("GET", path)

    def list(self, prefix: str | None = None) -> NoReturn:
        """It cannot."""
        msg = f"a web server does not list {prefix}"
        raise OSError(msg)

    def _file(self, method: str, path: str) -> File:
        url = self.root.join("/" + quote(path))
        within = private(url.host)
        for _ in range(REDIRECTS + 1):
            response = self._asked(method, url)
            if not response.has_redirect_location:
                return File(path, response)
            response.close()
            onward = url.join(response.headers["Location"])
            if url.scheme == "https" and onward.scheme != "https":
                raise _astray("a redirect leads from https to http", onward)
            if not within and private(onward.host):
                raise _astray("a redirect leads into a private network", onward)
            url = onward
        raise _astray(f"{REDIRECTS} redirects lead to more of them", url)

    def _asked(self, method: str, url: httpx.URL) -> httpx.Response:
        retrying = Retrying(
            retry=retry_if_exception_type(ConnectionError),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=0.1, max=5.0),
            reraise=True,
        )
        return retrying(self._once, method, url)

    def _once(self, method: str, url: httpx.URL) -> httpx.Response:
        own = (url.scheme, url.host, url.port) == (self.root.scheme, self.root.host, self.root.port)
        try:
            request = self.client.build_request(method, url, headers=self.headers if own else None)
            response = self.client.send(request, stream=True)
        except httpx.TransportError as error:
            raise ConnectionError(_told(error)) from None
        if response.is_success or response.has_redirect_location:
            return response
        response.close()
        said = f"{response.status_code} {response.reason_phrase}"
        if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
            raise FileNotFoundError(said)
        busy = response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS
        raise ConnectionError(said) if busy else OSError(said)


@dataclass(frozen=True)
class File:
    """One that is there."""

    path: str
    response: httpx.Response

    @property
    def meta(self) -> Mapping[str, Any]:
        """What tells one version from another."""
        headers = self.response.headers
        return {
            "path": self.path,
            "size": int(headers.get("Content-Length", 0)),
            "e_tag": headers.get("ETag"),
            "last_modified": _moment(headers.get("Last-Modified")),
            "version": None,
        }

    def stream(self, min_chunk_size: int) -> Iterator[bytes]:
        """Its content, in blocks of such a size.

        Raises:
            OSError: where it is cut off.
        """
        try:
            yield from self.response.iter_raw(min_chunk_size)
        except httpx.TransportError as error:
            raise OSError(_told(error)) from None

    def close(self) -> None:
        """Let go of the connection, whatever has come of it."""
        self.response.close()


def private(host: str) -> bool:
    """Whether a name leads to this machine or a private network; of one that only a proxy knows the proxy decides."""
    found = (ipaddress.ip_address(address.partition("%")[0]) for address in addresses(host))
    return any(not (getattr(address, "ipv4_mapped", None) or address).is_global for address in found)


def addresses(host: str) -> Iterable[str]:
    """Of a name."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return ()


def _astray(message: str, url: httpx.URL) -> StepError:
    fix = "name the file's own address as objects.uri, if it is one"
    return StepError("TW533", message, retryable=False, got=shown(url), fix=fix)


def _told(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {error}"


def _moment(text: str | None) -> datetime:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except ValueError:
        return _NEVER


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port or _PORTS.get(address.scheme)


def _headers(connection: Connection) -> dict[str, str]:
    """A login, and what its extra has under `headers`."""
    headers = {str(name).lower(): str(value) for name, value in (connection.field("headers") or {}).items()}
    if connection.login:
        word = b64encode(f"{connection.login}:{connection.password}".encode()).decode()
        headers["authorization"] = f"Basic {word}"
    return headers

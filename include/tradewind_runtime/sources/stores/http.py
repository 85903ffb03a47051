"""Files of a web server: `https://host/path/file.csv`, by GET and HEAD. It lists nothing, so there are no globs.

A redirect is followed, but not from https to http, nor from a public address into a private network: whoever may say
where a file is must not have us ask what only we can reach. The connection's login goes to its own address alone.
"""

from __future__ import annotations

import ipaddress
import socket
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import SplitResult, quote, urlsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.http_client import shown
from tradewind_runtime.sources.http_login import HEADER, VALUE

TYPES = frozenset({"http", "https"})
REDIRECTS = 10
TRIES = 5  # of one request
PATIENCE = httpx.Timeout(60.0, connect=20.0)  # seconds without a byte
_PORTS = {"http": 80, "https": 443}
_TRANSIENT = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)  # the last: cut off
_UNSENT = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
# Addresses of IPv6 whose last 32 bits are one of IPv4: compatible, mapped, translated, NAT64.
_WRAPPED = [ipaddress.IPv6Network(f"{prefix}/96") for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::")]
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_NEVER = datetime.fromtimestamp(0, UTC)


def opened(address: SplitResult, connection: Connection | None) -> Site:
    """A server; with the login and headers of a connection, which go to its own scheme, host and port alone.

    Raises:
        ValueError: where it is no address, or the connection is of another, or has headers that cannot be sent.
    """
    root = _address(httpx.URL(), f"{address.scheme}://{address.netloc}")
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
    client = httpx.Client(
        timeout=PATIENCE, verify=trusted, headers={"Accept-Encoding": "identity"}, event_hooks={"response": [_led]}
    )
    return Site(root, client, headers)


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
        found = self._file("GET", path)
        if found.size is None and not found.meta["e_tag"]:  # then the length is part of its version
            try:
                return replace(found, size=self.head(path)["size"])
            except BaseException:
                found.close()
                raise
        return found

    def list(self, prefix: str | None = None) -> NoReturn:
        """It cannot."""
        msg = f"a web server does not list {prefix}"
        raise OSError(msg)

    def inside(self, prefix: str | None = None) -> NoReturn:
        """Nor this."""
        self.list(prefix)

    def _file(self, method: str, path: str) -> File:
        url = self.root.join("/" + quote(path))
        for _ in range(REDIRECTS + 1):
            response = self._asked(method, url)
            if not response.has_redirect_location:
                length = response.headers.get("Content-Length")
                return File(path, response, None if length is None else int(length))
            response.close()
            onward = httpx.URL(response.headers["Location"])
            if url.scheme == "https" and onward.scheme != "https":
                raise _astray("a redirect leads from https to http", onward)
            if private(_host(onward)) and not private(_host(self.root)):
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
        except _TRANSIENT as error:
            raise ConnectionError(_told(error)) from None
        except _UNSENT as error:  # whose text may have the header that is wrong
            raise StepError(
                "TW525", f"the request cannot be sent: {type(error).__name__}", retryable=False,
                got=shown(url), fix="mend the headers of the connection",
            ) from None  # fmt: skip
        except httpx.TransportError as error:
            raise OSError(_told(error)) from None
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
    size: int | None  # None where its server does not say

    @property
    def meta(self) -> Mapping[str, Any]:
        """What tells one version from another."""
        headers = self.response.headers
        return {
            "path": self.path,
            "size": self.size or 0,
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
    """Whether a name leads to this machine or a private network; of one that only a proxy knows the proxy decides.

    It is of what the name resolves to now: one that resolves to something else when it is connected to is not caught.
    """
    return any(_within(ipaddress.ip_address(address.partition("%")[0])) for address in addresses(host))


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local or address in _LOCAL_NAT64:
            return True
        address = _unwrapped(address)
    return address.is_multicast or not address.is_global


def _unwrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address of IPv4 that one of IPv6 leads to, if it does."""
    if any(address in network for network in _WRAPPED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


def addresses(host: str) -> Iterable[str]:
    """Of a name."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return ()


def _host(url: httpx.URL) -> str:
    """As it is connected to: the readable form may be resolved to another (faß.de to fass.de)."""
    return url.raw_host.decode("ascii")


def _address(base: httpx.URL, text: str) -> httpx.URL:
    """What a text leads to.

    Raises:
        ValueError: where that is no web server; of a few names only the resolver would say so.
    """
    try:
        url = base.join(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None
    _host(url).encode("idna")
    if url.scheme not in _PORTS or not url.host:
        msg = "it is no address of a web server"
        raise ValueError(msg)
    return url


def _led(response: httpx.Response) -> None:
    """Make the address of a redirect whole before httpx looks at it: there what is none looks like a broken network."""
    if not response.has_redirect_location:
        return
    try:
        onward = _address(response.url, response.headers["Location"])
    except ValueError:
        raise _astray("its redirect leads to no address of a web server", response.url) from None
    response.headers["Location"] = str(onward)


def _astray(message: str, url: httpx.URL) -> StepError:
    fix = "name the file's own address as objects.uri, if it is one"
    return StepError("TW533", message, retryable=False, got=shown(url), fix=fix)


def _told(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {error}"


def _moment(text: str | None) -> datetime:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except (ValueError, OverflowError):  # such as the end of the year 9999, in a zone where it is later
        return _NEVER


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port or _PORTS.get(address.scheme)


def _headers(connection: Connection) -> dict[str, str]:
    """A login, and what its extra has under `headers`."""
    found = connection.field("headers") or {}
    if not isinstance(found, Mapping):
        msg = "its extra `headers` is no mapping"
        raise ValueError(msg)  # noqa: TRY004 - a connection that does not open, as the others
    headers = dict(_header(str(name).strip().lower(), str(value).strip()) for name, value in found.items())
    if connection.login:
        word = b64encode(f"{connection.login}:{connection.password}".encode()).decode()
        headers["authorization"] = f"Basic {word}"
    return headers


def _header(name: str, value: str) -> tuple[str, str]:
    """One that can be sent; what is wrong with it is told without its value, which may be secret."""
    if not HEADER.fullmatch(name):
        msg = "the name of one of its headers cannot be sent"
        raise ValueError(msg)
    if not VALUE.fullmatch(value):
        msg = f"its header {name!r} cannot be sent"
        raise ValueError(msg)
    return name, value

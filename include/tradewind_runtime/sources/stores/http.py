"""Files of a web server: `https://host/path/file.csv`, by GET and HEAD. It lists nothing, so there are no globs."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from obstore.store import HTTPStore, ObjectStore

from tradewind_runtime.connections import Connection

if TYPE_CHECKING:
    from obstore.store import ClientConfig

TYPES = frozenset({"http", "https"})
_PORTS = {"http": 80, "https": 443}


def opened(address: SplitResult, connection: Connection | None) -> ObjectStore:
    """A server; with the login of a connection, which goes to the connection's own scheme, host and port alone.

    The client follows redirects and takes `Authorization` to no other host, but any other header: so there is none.

    Raises:
        ValueError: where the connection is of another address, or has another header.
    """
    options: ClientConfig = {"allow_http": address.scheme == "http"}
    if connection is not None:
        own = urlsplit(connection.http())
        if _origin(own) != _origin(address):
            scheme, host, port = _origin(own)
            msg = f"it is one of {scheme}://{host}:{port}" if host else "it is one of no host"
            raise ValueError(msg)
        options["default_headers"] = _headers(connection)
    return HTTPStore.from_url(f"{address.scheme}://{address.netloc}", client_options=options)


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port or _PORTS.get(address.scheme)


def _headers(connection: Connection) -> dict[str, str]:
    """A login, or the `Authorization` that its extra has under `headers`."""
    headers = {str(name).lower(): str(value) for name, value in (connection.field("headers") or {}).items()}
    if other := sorted(set(headers) - {"authorization"}):
        msg = f"of headers only Authorization stays with one host, and it has {', '.join(other)}"
        raise ValueError(msg)
    if connection.login:
        word = b64encode(f"{connection.login}:{connection.password}".encode()).decode()
        headers["authorization"] = f"Basic {word}"
    return headers

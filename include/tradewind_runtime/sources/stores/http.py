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


def opened(address: SplitResult, connection: Connection | None) -> ObjectStore:
    """A server; with the login of a connection, which goes to the connection's own host alone.

    Raises:
        ValueError: where the connection is of another host.
    """
    options: ClientConfig = {"allow_http": address.scheme == "http"}
    if connection is not None:
        own = urlsplit(connection.http())
        if own.hostname != address.hostname:
            msg = f"it is one of {own.hostname or 'no host'}"
            raise ValueError(msg)
        options["default_headers"] = _headers(connection)
    return HTTPStore.from_url(f"{address.scheme}://{address.netloc}", client_options=options)


def _headers(connection: Connection) -> dict[str, str]:
    """A login, or the headers that its extra has under `headers`."""
    headers = {str(name): str(value) for name, value in (connection.field("headers") or {}).items()}
    if connection.login:
        word = b64encode(f"{connection.login}:{connection.password}".encode()).decode()
        headers["authorization"] = f"Basic {word}"
    return headers

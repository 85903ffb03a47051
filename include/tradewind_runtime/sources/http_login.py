"""What a connection says of an HTTP API: its address, and its secrets, which are never shown."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, unquote, urlsplit

import httpx

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError

SHORT = 4  # letters that are no secret, and may stand anywhere
HEADER = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[!-~]([ -~\t]*[!-~])?")


@dataclass(frozen=True)
class Login:
    """An address, and what each request to it bears."""

    address: httpx.URL  # without a login, a query or a fragment
    auth: httpx.Auth | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted: ssl.SSLContext | bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, connection: Connection | None) -> Login:
        """Of a connection of type http: basic by its login, or by its extra `token`, `headers`, `params` and `ca`.

        Raises:
            StepError: TW525 where it is of another type, or has no address, or what it has cannot be sent.
        """
        if connection is None or connection.type not in ("http", "https"):
            got = connection.type if connection else "no connection"
            raise _refused("the source's connection is of no HTTP API", got)
        address, user, password = _address(connection)
        token = str(connection.extra.get("token") or "").strip()
        headers = _texts(connection, "headers")
        for name, value in headers.items():
            if not HEADER.fullmatch(name) or not VALUE.fullmatch(value):
                raise _refused("a header of the connection cannot be sent", name)
        if token:
            if not VALUE.fullmatch(token):
                raise _refused("the connection's token cannot be sent", "letters that no header may have")
            headers["Authorization"] = f"Bearer {token}"
        params = _texts(connection, "params")
        auth = httpx.BasicAuth(user, password) if user and not token else None
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        secrets = [token, password, basic, *headers.values(), *params.values()]
        forms = [form for one in secrets for form in (one, quote_plus(one))]
        known = sorted({form for form in forms if len(form) >= SHORT}, key=len, reverse=True)
        return cls(address, auth, headers, params, _trusted(connection), tuple(known))

    def on(self, url: httpx.URL) -> httpx.URL:
        """An address with what must stand in its query; another is sent as it was given."""
        return url.copy_merge_params(self.params) if self.params else url

    def hide(self, text: str) -> str:
        """A text of the API's without the connection's secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text


def _address(connection: Connection) -> tuple[httpx.URL, str, str]:
    """Where it is, and user and password."""
    try:
        parts = urlsplit(connection.http())
        url = httpx.URL(connection.http()).copy_with(userinfo=b"", query=None, fragment=None)
    except (ValueError, httpx.InvalidURL):
        raise _refused("the connection has no address of an API", "a host or an extra uri that is none") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _refused("the connection has no address of an API", f"{url.scheme}://{url.host}")
    user = connection.login or unquote(parts.username or "")
    return url, user, connection.password or unquote(parts.password or "")


def _texts(connection: Connection, name: str) -> dict[str, str]:
    found = connection.extra.get(name) or {}
    if not isinstance(found, dict) or not all(isinstance(one, str | int | float) for one in found.values()):
        raise _refused("the connection's extra is not of texts", name)
    return {str(key): str(value).strip() for key, value in found.items()}


def _trusted(connection: Connection) -> ssl.SSLContext | bool:
    """Whom it believes: the machine's authorities, or the connection's own."""
    if not (text := connection.extra.get("ca")):
        return True
    try:
        return ssl.create_default_context(cadata=str(text))
    except (ssl.SSLError, ValueError):
        raise _refused("the connection's ca is no certificate", "a text that is none") from None


def _refused(message: str, got: str) -> StepError:
    return StepError(
        "TW525", message, retryable=False, got=got, fix="mend the connection", docs="guides/connections.md",
    )  # fmt: skip

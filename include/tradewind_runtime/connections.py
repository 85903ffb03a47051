"""Airflow's connections as a step's process gets them: `AIRFLOW_CONN_<ID>`, a URI or JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tradewind_runtime.contract.errors import StepError

if TYPE_CHECKING:
    import pyarrow.fs as pafs


#: Extras that hold a secret, by their names.
_SECRET = re.compile(r"(?i)(key|secret|token|password|passphrase|dict|connection_string|authorization)$")
_SHORTEST = 5  # letters of a secret that is looked for: of fewer, any text may have them


@dataclass(frozen=True)
class Connection:
    """One connection. Its repr hides what is secret."""

    id: str
    type: str = ""
    host: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    port: int | None = None
    schema: str = ""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    def http(self) -> str:
        """Its address: the extra `uri`, else scheme, login, host and port, and a path that the host is given with."""
        if uri := self.extra.get("uri"):
            return str(uri)
        scheme, _, host = self.host.rpartition("://")
        scheme = scheme or ("https" if "https" in (self.type, self.schema) else "http")
        user = f"{quote(self.login, safe='')}:{quote(self.password, safe='')}@" if self.login else ""
        host, slash, path = host.partition("/")
        return f"{scheme}://{user}{host}{f':{self.port}' if self.port else ''}{slash}{path}"

    def field(self, name: str) -> Any:
        """An extra, also by the longer name that older versions of Airflow gave it."""
        return self.extra.get(name) or self.extra.get(f"extra__{self.type}__{name}")

    def hide(self, text: str) -> str:
        """Somebody else's words, without what this connection keeps secret."""
        found = {one for one in (self.password, *_secrets(self.extra)) if len(one) >= _SHORTEST}
        for secret in sorted(found, key=len, reverse=True):
            for written in (secret, quote(secret, safe="")):
                text = text.replace(written, "***")
        return text

    @classmethod
    def parse(cls, id: str, text: str) -> Connection:
        """From a URI or from JSON, in Airflow's own forms.

        Raises:
            StepError: TW510 where it is neither.
        """
        try:
            if text.lstrip().startswith("{"):
                body = json.loads(text)
                extra = body.get("extra") or {}
                return cls(
                    id=id,
                    type=body.get("conn_type") or "",
                    host=body.get("host") or "",
                    login=body.get("login") or "",
                    password=body.get("password") or "",
                    port=int(body["port"]) if body.get("port") else None,
                    schema=body.get("schema") or "",
                    extra=json.loads(extra) if isinstance(extra, str) else extra,
                )
            parts = urlsplit(text)
            query = dict(parse_qsl(parts.query))
            extra = json.loads(query["__extra__"]) if "__extra__" in query else query
            return cls(
                id=id,
                type=parts.scheme,
                host=unquote(parts.hostname or ""),
                login=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                port=parts.port,
                schema=unquote(parts.path.lstrip("/")),
                extra=extra,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StepError(
                "TW510",
                f"connection {id!r} is neither a URI nor JSON",
                retryable=False,
                expected="Airflow's URI or JSON form",
                fix=f"set the connection {id!r} again in Airflow",
            ) from error


def _secrets(extra: Mapping[str, Any]) -> Iterator[str]:
    for name, value in extra.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and _SECRET.search(name):
            yield value


def variable(id: str) -> str:
    """The environment variable that carries a connection."""
    return f"AIRFLOW_CONN_{id.upper()}"


def connection(id: str) -> Connection:
    """The connection that this process was given.

    Raises:
        StepError: TW511 where it was not given one of that id.
    """
    text = os.environ.get(variable(id))
    if text is None:
        raise StepError(
            "TW511",
            f"connection {id!r} was not given to this step",
            retryable=False,
            fix=f"add it to Airflow, or set {variable(id)} for `tradewind run`",
            docs="guides/connections.md",
        )
    return Connection.parse(id, text)


def store_options(conn: Connection | None) -> dict[str, Any]:
    """Obstore's options for an S3 store, from an `aws` connection (extra: endpoint_url, region_name)."""
    if conn is None:
        return {}
    options: dict[str, Any] = {"aws_region": conn.extra.get("region_name", "us-east-1")}
    if conn.login:
        options |= {"aws_access_key_id": conn.login, "aws_secret_access_key": conn.password}
    if endpoint := conn.extra.get("endpoint_url"):
        options["aws_endpoint"] = endpoint
        if endpoint.startswith("http://"):
            options["client_options"] = {"allow_http": True}
    return options


def delta_options(conn: Connection | None) -> dict[str, str]:
    """delta-rs's storage options for the same connection."""
    if conn is None:
        return {}
    options = {"AWS_REGION": conn.extra.get("region_name", "us-east-1")}
    if conn.login:
        options |= {"AWS_ACCESS_KEY_ID": conn.login, "AWS_SECRET_ACCESS_KEY": conn.password}
    if endpoint := conn.extra.get("endpoint_url"):
        options["AWS_ENDPOINT_URL"] = endpoint
        if endpoint.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
    return options


def arrow_filesystem(options: Mapping[str, str]) -> pafs.FileSystem:
    """Arrow's view of the S3 store that `delta_options` tell of."""
    import pyarrow.fs as pafs

    endpoint = options.get("AWS_ENDPOINT_URL", "")
    return pafs.S3FileSystem(
        access_key=options.get("AWS_ACCESS_KEY_ID"),
        secret_key=options.get("AWS_SECRET_ACCESS_KEY"),
        region=options.get("AWS_REGION"),
        scheme="http" if endpoint.startswith("http://") else "https",
        endpoint_override=urlsplit(endpoint).netloc or None,
    )

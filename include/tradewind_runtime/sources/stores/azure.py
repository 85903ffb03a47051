"""Azure Blob: `az://container`, by Airflow's connection of type `wasb`.

`abfss://container@account.dfs.core.windows.net` names the account too; else it is the connection's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

from obstore.store import AzureStore

from tradewind_runtime.connections import Connection
from tradewind_runtime.sources.stores.bucket import Bucket

TYPES = frozenset({"wasb", "adls", "azure_data_lake"})


def opened(address: SplitResult, connection: Connection | None) -> Bucket:
    """A container; by what the connection has, else as this machine may (a managed or a workload identity).

    Raises:
        ValueError: where the connection is of another account.
    """
    container, _, host = address.netloc.partition("@")
    options = _options(connection) if connection else {}
    if host:
        account = host.partition(".")[0]
        if options.setdefault("account_name", account) != account:  # what one account trusts is not shown to another
            msg = f"it is one of the account {options['account_name']!r}"
            raise ValueError(msg)
    return Bucket(AzureStore(container, **options))


def _options(connection: Connection) -> dict[str, Any]:
    """Obstore's, in the order in which Airflow's hook looks for what it may enter by."""
    if text := connection.field("connection_string"):
        return _of_string(text)
    options = _account(connection)
    if tenant := connection.field("tenant_id"):
        options |= {"tenant_id": tenant, "client_id": connection.login, "client_secret": connection.password}
    elif key := connection.field("shared_access_key"):
        options["account_key"] = key
    elif token := connection.field("sas_token"):
        options["sas_key"] = token.rpartition("?")[2]
    elif connection.password:
        options["account_key"] = connection.password
    elif identity := connection.field("managed_identity_client_id"):
        options["client_id"] = identity
    return options


def _account(connection: Connection) -> dict[str, Any]:
    """Its name, and where it is; the host may be an address, a name with a domain, or the account alone."""
    where = connection.field("account_url") or connection.host
    login = "" if connection.field("tenant_id") else connection.login  # which is then the client's
    if not where:
        return {"account_name": login} if login else {}
    if "." not in where and "://" not in where:
        return {"account_name": login or where}
    return _at(where if "://" in where else f"https://{where}", login)


def _at(url: str, login: str = "") -> dict[str, Any]:
    """An account by the address of its blobs: in its host, or in its path as emulators have it."""
    found = urlsplit(url)
    path = found.path.strip("/")
    options: dict[str, Any] = {"account_name": login or path or found.netloc.partition(".")[0]}
    options["endpoint"] = f"{found.scheme}://{found.netloc}{f'/{path}' if path else ''}"
    if found.scheme == "http":
        options["client_options"] = {"allow_http": True}
    return options


def _of_string(text: str) -> dict[str, Any]:
    """A connection string, as the portal gives it."""
    parts = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    name = parts.get("AccountName", "")
    scheme, suffix = parts.get("DefaultEndpointsProtocol", "https"), parts.get("EndpointSuffix", "core.windows.net")
    options = _at(parts.get("BlobEndpoint") or f"{scheme}://{name}.blob.{suffix}", name)
    if key := parts.get("AccountKey"):
        options["account_key"] = key
    elif signature := parts.get("SharedAccessSignature"):
        options["sas_key"] = signature
    return options

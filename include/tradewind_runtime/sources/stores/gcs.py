"""Google Cloud Storage: `gs://bucket`, by Airflow's connection of type `google_cloud_platform`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import SplitResult

from obstore.store import GCSStore

from tradewind_runtime.connections import Connection
from tradewind_runtime.sources.stores.bucket import Bucket

TYPES = frozenset({"google_cloud_platform"})


def opened(address: SplitResult, connection: Connection | None) -> Bucket:
    """A bucket; by the key of the connection, else by Google's application default."""
    return Bucket(GCSStore.from_url(f"gs://{address.netloc}", **(_options(connection) if connection else {})))


def _options(connection: Connection) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if key := connection.field("keyfile_dict"):
        options["service_account_key"] = key if isinstance(key, str) else json.dumps(key)
    elif path := connection.field("key_path"):
        options["service_account"] = path
    elif connection.field("is_anonymous"):
        options["skip_signature"] = True
    if endpoint := connection.field("endpoint_url"):
        options["base_url"] = endpoint
        options["client_options"] = {"allow_http": endpoint.startswith("http://")}
    return options

"""S3, and what answers like it: `s3://bucket`."""

from __future__ import annotations

from urllib.parse import SplitResult

from obstore.store import S3Store

from tradewind_runtime.connections import Connection, store_options
from tradewind_runtime.sources.stores.bucket import Bucket

TYPES = frozenset({"aws", "s3"})


def opened(address: SplitResult, connection: Connection | None) -> Bucket:
    """A bucket; by the key of the connection, else as this machine may."""
    return Bucket(S3Store.from_url(f"s3://{address.netloc}", **store_options(connection)))

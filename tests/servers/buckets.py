"""Buckets of the S3 server; a store's client reads and writes in them, and makes none."""

from __future__ import annotations

import pyarrow.fs as pafs

from tradewind.dev.servers.s3 import REGION, S3


def make(server: S3, name: str) -> None:
    """A bucket, unless it is there."""
    store = pafs.S3FileSystem(
        access_key=server.key, secret_key=server.secret, region=REGION, scheme="http",
        endpoint_override=server.address.removeprefix("http://"), allow_bucket_creation=True,
    )  # fmt: skip
    store.create_dir(name)

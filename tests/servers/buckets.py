"""Buckets of the S3 server; a store's client reads and writes in them, and makes none."""

from __future__ import annotations

import pyarrow.fs as pafs

from tradewind.dev.servers.s3 import REGION, S3


def make(server: S3, name: str) -> None:
    """A bucket, unless it is there."""
    make_at(server.address, server.key, server.secret, name)


def make_at(address: str, key: str, secret: str, name: str) -> None:
    """The same, where the server is known by its address."""
    store = pafs.S3FileSystem(
        access_key=key, secret_key=secret, region=REGION, scheme="http",
        endpoint_override=address.removeprefix("http://"), allow_bucket_creation=True,
    )  # fmt: skip
    store.create_dir(name)

"""What a real server lists: all pages of it, and the folders of the window's dates alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import obstore
import pytest
from obstore.store import S3Store
from tests.servers import buckets
from tests.servers.azure_storage import AzureStorage
from tests.servers.google_storage import GoogleStorage
from tests.tradewind_runtime.sources.project import objects
from tests.tradewind_runtime.steprun import end_of, ingest, rows

from tradewind.dev.running import start
from tradewind.dev.servers.s3 import REGION, S3
from tradewind_runtime.connections import Connection, variable
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import Source

pytestmark = pytest.mark.server
SCHEMES: dict[str, type[S3 | GoogleStorage | AzureStorage]] = {"s3": S3, "gs": GoogleStorage, "az": AzureStorage}


@dataclass
class Cloud:
    """A store, and what is put into it."""

    server: S3 | GoogleStorage | AzureStorage
    scheme: str

    @property
    def connection(self) -> Connection:
        ((id, text),) = self.server.connections().items()
        return Connection.parse(id, text)

    def fill(self, bucket: str, contents: dict[str, bytes]) -> None:
        """A new bucket, with all of these put at once."""
        put = self._made(bucket)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, contents.keys(), contents.values()))

    def _made(self, bucket: str) -> Callable[[str, bytes], object]:
        if isinstance(self.server, S3):
            buckets.make(self.server, bucket)
            store = S3Store(
                bucket, endpoint=self.server.address, region=REGION, access_key_id=self.server.key,
                secret_access_key=self.server.secret, virtual_hosted_style_request=False,
                client_options={"allow_http": True},
            )  # fmt: skip
            return partial(obstore.put, store)
        self.server.make(bucket)
        if isinstance(self.server, AzureStorage):
            return partial(obstore.put, self.server.store(bucket))
        return partial(self.server.put, bucket)

    def source(self, bucket: str, path: str) -> Source:
        return objects(f"{self.scheme}://{bucket}/{path}", connection=self.connection.id, columns={"n": "long"})


@pytest.fixture(scope="module", params=SCHEMES)
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    kind = SCHEMES[request.param]
    with start(kind.at(tmp_path_factory.mktemp(kind.name))) as running:
        yield Cloud(running.server, request.param)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("in/{window.date}/*.csv", ["in/2013-01-31/a b.csv", "in/2013-02-01/b.csv"]),
        ("in/{window.date:%Y/%m/%d}/*.csv", ["in/2013/01/31/a.csv", "in/2013/01/31/b.csv", "in/2013/02/01/a.csv"]),
        ("in/year={window.date:%Y}/month={window.date:%m}/**", ["in/year=2013/month=01/a.csv"]),
    ],
    ids=["a folder a day", "folders in folders", "a folder a month"],
)
def test_dates_may_be_folders(
    cloud: Cloud, lake_uri: str, monkeypatch: pytest.MonkeyPatch, path: str, keys: list[str]
) -> None:
    bucket = f"dates-{len(keys)}"
    others = [
        "in/2013-01-30/a.csv", "in/2013-01-31/deep/a.csv", "in/2013-01-31.csv", "in/2013-02-02/a.csv",
        "in/2013/01/30/a.csv", "in/2013/01/31/a.txt", "in/2013/01/3/a.csv", "in/year=2012/month=01/a.csv",
    ]  # fmt: skip
    cloud.fill(bucket, {key: f"n\n{n}\n".encode() for n, key in enumerate([*keys, *others])})
    monkeypatch.setenv(variable(cloud.connection.id), next(iter(cloud.server.connections().values())))
    window = Window(start=datetime(2013, 1, 31, tzinfo=UTC), end=datetime(2013, 2, 2, tzinfo=UTC))
    daily = cloud.source(bucket, path)
    end = end_of(lake_uri, daily, connection=cloud.connection, window=window)
    assert list(end) == keys
    ingest(lake_uri, daily, end, connection=cloud.connection.id, window=window)
    assert sorted(row["_source"] for row in rows(lake_uri)) == keys


@pytest.mark.parametrize(("cloud", "count"), [("s3", 2_500), ("az", 5_100)], indirect=["cloud"])
def test_all_pages_are_listed(cloud: Cloud, lake_uri: str, count: int) -> None:
    """S3 gives at most 1,000 keys in an answer, Azure 5,000; Google's server of the tests gives all in one."""
    keys = [f"in/{n:05}.csv" for n in range(count)]
    cloud.fill("pages", dict.fromkeys([*keys, "in/z.txt"], b"n\n1\n"))
    assert list(end_of(lake_uri, cloud.source("pages", "in/*.csv"), connection=cloud.connection)) == keys
    some = end_of(lake_uri, cloud.source("pages", "in/*99.csv"), connection=cloud.connection)
    assert list(some) == keys[99::100]

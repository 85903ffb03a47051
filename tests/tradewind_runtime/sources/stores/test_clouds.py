"""Buckets of Google and containers of Azure: each version once, by Airflow's connections, and no secret is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import obstore
import pytest
from tests.servers.azure_storage import ACCOUNT, AzureStorage
from tests.servers.google_storage import GoogleStorage
from tests.tradewind_runtime.sources.project import objects
from tests.tradewind_runtime.steprun import end_of, ingest, rows

from tradewind.dev.running import start
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources.stores import azure

pytestmark = pytest.mark.server
COLUMNS = {"n": "long"}


@dataclass
class Cloud:
    """A store, its address and its connection."""

    server: GoogleStorage | AzureStorage
    scheme: str

    @property
    def connection(self) -> Connection:
        ((id, text),) = self.server.connections().items()
        return Connection.parse(id, text)

    def source(self, bucket: str, path: str, **more: Any) -> Source:
        given = {"connection": self.connection.id, "columns": COLUMNS} | more
        return objects(f"{self.scheme}://{bucket}/{path}", **given)


@pytest.fixture(scope="module", params=["gs", "az"])
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    kind: type[GoogleStorage | AzureStorage] = {"gs": GoogleStorage, "az": AzureStorage}[request.param]
    with start(kind.at(tmp_path_factory.mktemp(kind.name))) as running:
        yield Cloud(running.server, request.param)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureStorage]:
    with start(AzureStorage.at(tmp_path_factory.mktemp("azure"))) as running:
        running.server.make("keys")
        running.server.put("keys", "a.csv", b"n\n1\n")
        yield running.server


def test_objects_come_by_version(cloud: Cloud, lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, conn = cloud.server, cloud.connection
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn.id.upper()}", next(iter(store.connections().values())))
    store.make("weather")
    for key, content in (("2013/01 a.csv", b"n\n1\n"), ("2013/02.csv", b"n\n2\n"), ("2013/deep/03.csv", b"n\n3\n")):
        store.put("weather", key, content)
    every = cloud.source("weather", "2013/*.csv")
    all_of_them = cloud.source("weather", "2013/**")

    def taken_in(run: str, of: Source, end: dict[str, str] | None = None) -> float:
        end = end_of(lake_uri, of, connection=conn) if end is None else end
        return ingest(lake_uri, of, end, connection=conn.id, run=run).metrics["rows"]

    assert taken_in("r1", every) == 2
    assert {row["_source"] for row in rows(lake_uri)} == {"2013/01 a.csv", "2013/02.csv"}
    assert taken_in("r2", every) == 0
    store.put("weather", "2013/02.csv", b"n\n22\n")
    assert taken_in("r3", every) == 1
    assert sorted(row["n"] for row in rows(lake_uri)) == [1, 22]
    pinned = end_of(lake_uri, all_of_them, connection=conn)
    store.put("weather", "2013/deep/03.csv", b"n\n33\n")
    with pytest.raises(StepError, match=r"TW526: 2013/deep/03.csv changed"):
        taken_in("r4", all_of_them, pinned)
    store.delete("weather", "2013/deep/03.csv")
    with pytest.raises(StepError, match=r"TW526: 2013/deep/03.csv vanished"):
        taken_in("r5", all_of_them, pinned)


def test_one_object_may_not_be_there_yet_but_the_bucket_must(cloud: Cloud, lake_uri: str) -> None:
    cloud.server.make("empty")
    assert end_of(lake_uri, cloud.source("empty", "a.csv"), connection=cloud.connection) == {}
    assert end_of(lake_uri, cloud.source("empty", "*.csv"), connection=cloud.connection) == {}
    if cloud.scheme == "gs":  # fake-gcs-server answers 500, which is tried again for long; Google answers 404
        return
    with pytest.raises(StepError, match="TW525: the store cannot be listed"):
        end_of(lake_uri, cloud.source("nowhere", "*.csv"), connection=cloud.connection)


def test_many_objects_come_in_few_commits(cloud: Cloud, lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conn = cloud.connection
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn.id.upper()}", next(iter(cloud.server.connections().values())))
    cloud.server.make("many")
    for number in range(60):
        cloud.server.put("many", f"{number:03}.csv", f"n\n{number}\n".encode())
    every = cloud.source("many", "*.csv")
    assert ingest(lake_uri, every, end_of(lake_uri, every, connection=conn), connection=conn.id).metrics["rows"] == 60
    assert sorted(row["n"] for row in rows(lake_uri)) == list(range(60))


def test_a_connection_of_another_cloud_is_refused_by_its_type(cloud: Cloud, lake_uri: str) -> None:
    other = Connection("s3_default", type="aws", login="key", password="a-secret-word")
    with pytest.raises(StepError, match=r"TW525: no (gs|az):// is opened by a connection of type 'aws'") as told:
        end_of(lake_uri, cloud.source("weather", "*.csv"), connection=other)
    assert "a-secret-word" not in str(told.value)


def azure_end(lake: str, uri: str = "az://keys/a.csv", **conn: Any) -> dict[str, str]:
    given = Connection("wasb_default", **({"type": "wasb"} | conn))
    return end_of(lake, objects(uri, connection="wasb_default"), connection=given)


def test_azure_may_be_entered_in_airflows_ways(blobs: AzureStorage, lake_uri: str) -> None:
    whole = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={blobs.key};BlobEndpoint={blobs.address};"
    signed = obstore.sign(blobs.store("keys"), "GET", "a.csv", timedelta(minutes=5)).partition("?")[2]
    where = {"host": blobs.address, "login": ACCOUNT}
    ways: list[dict[str, Any]] = [
        where | {"password": blobs.key},
        {"host": blobs.address, "password": blobs.key},
        {"extra": {"connection_string": whole}},
        {"extra": {"extra__wasb__connection_string": whole}},
        where | {"extra": {"shared_access_key": blobs.key}},
        {"login": ACCOUNT, "password": blobs.key, "extra": {"account_url": blobs.address}},
        where | {"extra": {"sas_token": signed}},
        where | {"extra": {"sas_token": f"{blobs.address}?{signed}"}},
    ]
    for way in ways:
        assert list(azure_end(lake_uri, **way)) == ["a.csv"], sorted(way)
    named = f"abfss://keys@{ACCOUNT}.dfs.core.windows.net/a.csv"
    assert list(azure_end(lake_uri, named, **ways[0])) == ["a.csv"]


def test_what_azure_refuses_is_told_without_a_secret(blobs: AzureStorage, lake_uri: str) -> None:
    wrong = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZw=="
    signed = f"sv=2021-12-02&sr=b&sp=r&se=2099-01-01T00%3A00%3A00Z&sig={wrong.replace('=', '%3D')}"
    for given in ({"password": wrong}, {"extra": {"sas_token": signed}}):
        with pytest.raises(StepError, match="TW525: the store cannot be listed") as told:
            azure_end(lake_uri, host=blobs.address, login=ACCOUNT, **given)
        assert "d3Jvbmc" not in "".join(map(str, (told.value, told.value.__cause__, vars(told.value))))


def test_an_account_is_told_only_what_is_its_own(lake_uri: str) -> None:
    with pytest.raises(StepError, match=r"TW525: the connection does not open abfss://.* of the account 'mine'"):
        azure_end(lake_uri, "abfss://keys@theirs.dfs.core.windows.net/a.csv", login="mine", password="a2V5a2V5")


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"login": "mine", "password": "k"}, {"account_name": "mine", "account_key": "k"}),
        (
            {"host": "mine.blob.core.windows.net", "password": "k"},
            {"account_name": "mine", "account_key": "k", "endpoint": "https://mine.blob.core.windows.net"},
        ),
        (
            {"host": "mine", "login": "app", "password": "word", "extra": {"tenant_id": "t"}},
            {"account_name": "mine", "tenant_id": "t", "client_id": "app", "client_secret": "word"},
        ),
        (
            {"host": "mine", "extra": {"managed_identity_client_id": "id"}},
            {"account_name": "mine", "client_id": "id"},
        ),
        (
            {"extra": {"connection_string": "AccountName=mine;SharedAccessSignature=sv=1&sig=x"}},
            {"account_name": "mine", "endpoint": "https://mine.blob.core.windows.net", "sas_key": "sv=1&sig=x"},
        ),
    ],
)
def test_azures_options(given: dict[str, Any], options: dict[str, Any]) -> None:
    assert azure._options(Connection("wasb_default", type="wasb", **given)) == options


def test_secrets_are_hidden_in_the_words_of_others() -> None:
    extra = {"keyfile_dict": {"private_key": "-----BEGIN"}, "sas_token": "sig=a/b", "key_path": "/keys/a.json"}
    conn = Connection("c", password="pass word", extra=extra)
    said = "pass word, pass%20word, -----BEGIN, sig=a/b, sig%3Da%2Fb at /keys/a.json"
    assert conn.hide(said) == "***, ***, ***, ***, *** at /keys/a.json"
    assert conn.hide(json.dumps({"login": "x"})) == '{"login": "x"}'

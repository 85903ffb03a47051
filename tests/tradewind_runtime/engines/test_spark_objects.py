"""Ingestion of objects by Spark: from one engine to the other, of folders and of S3, and what is told."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import from_url
from pyspark.sql import SparkSession
from tests.servers import buckets
from tests.tradewind_runtime.engines.spark_house import succeed
from tests.tradewind_runtime.steprun import end_of, ingest_request, rows, started

from tradewind_runtime.connections import Connection, store_options
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.contract.sources import ObjectsSource, Source
from tradewind_runtime.engines.spark.session import session
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import Access, reader

SETTINGS = {"master": "local[2]", "driver_memory": "512m"}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One for all steps of this module that run in this process."""
    with session(SETTINGS, tmp_path_factory.mktemp("spark")) as found:
        yield found


class Folder:
    """Files as a source."""

    def __init__(self, path: Path) -> None:
        self.path, self.lake = path, (path / "lake").as_uri()
        (path / "files").mkdir()
        self.source = Source(objects=ObjectsSource(uri=f"{(path / 'files').as_uri()}/*.csv*"))

    def write(self, name: str, text: str) -> None:
        (self.path / "files" / name).write_text(text)

    def read(self, engine: str, run: str) -> StepResult:
        request = ingest_request(self.lake, self.source, end_of(self.lake, self.source), run=run)
        return execute(request.model_copy(update={"engine": engine, "settings": {"spark": SETTINGS}}))

    def rows(self) -> list[dict[str, Any]]:
        return rows(self.lake)


class Bucket:
    """Objects of S3 as a source, into a lake on S3, each step in a process of its own."""

    def __init__(self, server: Any) -> None:
        for name in ("landing", "ingested"):
            buckets.make(server, name)
        self.text = server.connections()["s3_default"]
        self.connection = Connection.parse("s3_default", self.text)
        self.lake = Lake("s3://ingested/a lake", self.connection)
        self.source = Source(objects=ObjectsSource(uri="s3://landing/of days/*.csv", connection="s3_default"))

    def write(self, name: str, text: str) -> None:
        obstore.put(from_url("s3://landing", **store_options(self.connection)), f"of days/{name}", text.encode())

    def read(self, engine: str, run: str) -> StepResult:
        end = reader("objects").end_position(self.source, Access(self.lake, connection=self.connection))
        request = ingest_request(self.lake.root, self.source, end, run=run, connection="s3_default")
        used = request.connections | {"lake": "s3_default"}
        asked = request.model_copy(update={"engine": engine, "settings": {"spark": SETTINGS}, "connections": used})
        path = f"requests/{run}.json"
        self.lake.documents.put(path, asked.model_dump_json().encode())
        succeed(started(self.lake.root, path, "--lake-connection", "s3_default", AIRFLOW_CONN_S3_DEFAULT=self.text))
        result = self.lake.documents.get_model(asked.result_path, StepResult)
        assert result is not None
        return result

    def rows(self) -> list[dict[str, Any]]:
        return self.lake.table("demo/flights_raw").snapshot().to_arrow().to_pylist()


def to_and_fro(place: Folder | Bucket, *engines: str) -> None:
    """In each run there are new objects, and one is written again that the other engine has read in the run before."""
    held: dict[str, list[int]] = {}
    for run, engine in enumerate(engines):
        written = {f"{run}-{n}.csv": [100 * run + n, 100 * run + n + 50] for n in range(4)}
        if run:
            written[f"{run - 1}-0.csv"] = [100 * run + 99]
        for name, numbers in written.items():
            place.write(name, "n,text\n" + "".join(f"{number},a\n" for number in numbers))
        held |= written
        found = place.read(engine, f"r{run}").metrics["rows"]
        assert found == sum(map(len, written.values())), "what the other engine has read is not read again"
        assert sorted(row["n"] for row in place.rows()) == sorted(
            number for numbers in held.values() for number in numbers
        )


def test_from_one_engine_to_the_other_and_back(tmp_path: Path, spark: SparkSession) -> None:
    to_and_fro(Folder(tmp_path), "python", "spark", "python", "spark")


@pytest.mark.server
def test_from_s3_into_a_lake_on_s3_from_one_engine_to_the_other_and_back(s3_server: Any) -> None:
    to_and_fro(Bucket(s3_server), "spark", "python", "spark")


def test_objects_many_new_one_again_one_broken(tmp_path: Path, spark: SparkSession) -> None:
    folder = Folder(tmp_path)
    for n in range(40):
        folder.write(f"{n:02d}.csv", f"n,text\n{n},a\n{n + 100},b\n")
    folder.read("spark", "r1")
    assert sorted(row["n"] for row in rows(folder.lake)) == sorted([*range(40), *range(100, 140)])
    folder.write("07.csv", "n,text\n1007,c\n")
    folder.write("40.csv", "n,text\n40,a\n")
    folder.write("41.csv", "n,n\n1,2\n")
    folder.write("42.csv", "n,text,more\n42,a,1.5\n")
    with pytest.raises(StepError, match=r"41\.csv"):
        folder.read("spark", "r2")
    found = {row["n"]: row for row in rows(folder.lake)}
    assert {7, 107} & set(found) == set()
    assert {1007, 40, 42} <= set(found)
    assert found[42]["more"] == 1.5
    (tmp_path / "files/41.csv").unlink()
    assert folder.read("python", "r3").metrics["rows"] == 0, "what the other engine has taken in is in place"


def test_however_many_objects_break_in_their_midst_all_others_are_taken_in(tmp_path: Path, spark: SparkSession) -> None:
    folder = Folder(tmp_path)
    lines = "".join(f"{number},a\n" for number in range(20_000)).encode()
    for n in range(60):
        content = gzip.compress(b"n,text\n" + (lines if n % 2 else b"%d,a\n" % n))
        (tmp_path / f"files/{n:02d}.csv.gz").write_bytes(content[:-1000] if n % 2 else content)
    with pytest.raises(StepError, match=r"01\.csv\.gz cannot be read"):
        folder.read("spark", "r1")
    assert sorted(row["n"] for row in rows(folder.lake)) == list(range(0, 60, 2))

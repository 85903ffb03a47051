"""Spark on a lake on S3: its jars are those that are listed, and the rows are those that a folder gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tradewind_runtime import ivy
from tradewind_runtime.connections import Connection
from tradewind_runtime.engines.spark import s3, session
from tradewind_runtime.engines.spark.tables import uri
from tradewind_runtime.lake import Lake
from tradewind_runtime.staging import find_files


def test_hadoop_is_the_one_that_spark_carries() -> None:
    ours = ivy.spark_jars()
    assert ours
    (client,) = ours.glob("hadoop-client-api-*.jar")
    version = client.stem.rpartition("-")[2]
    assert f"hadoop-aws-{version}.jar" in s3.SUMS.read_text()
    assert f'name="hadoop-aws" rev="{version}"' in s3.LISTING.read_text()


def test_no_jar_is_one_that_spark_brings() -> None:
    ours = ivy.spark_jars()
    assert ours
    known = {re.sub(r"-\d.*", "", jar.name) for jar in ours.glob("*.jar")}
    assert not known & {re.sub(r"-\d.*", "", line.split()[1]) for line in s3.SUMS.read_text().splitlines()}


def test_a_jar_that_is_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def retrieve(_words: Any, target: Path, _cache: Path) -> str:
        (target / "a-1.jar").write_bytes(b"another")
        return "all is well"

    monkeypatch.setattr(ivy, "run", retrieve)
    sums = tmp_path / "sums"
    sums.write_text(f"{'0' * 64}  a-1.jar\n")
    with pytest.raises(ivy.NotFetchedError, match=r"a-1\.jar"):
        ivy.listed(Path("java"), tmp_path / "list", sums, tmp_path / "jars", tmp_path / "ivy", bare=False)


@pytest.fixture
def own_jvm() -> Iterator[None]:
    """One that no test before has started, with other jars; nor is it the next one's."""

    def end() -> None:
        if SparkContext._gateway is not None:
            SparkContext._gateway.shutdown()
            SparkContext._gateway = SparkContext._jvm = None

    from pyspark import SparkContext

    end()
    yield
    end()


@pytest.mark.server
@pytest.mark.usefixtures("own_jvm")
def test_files_are_written_read_and_put_in_place_without_a_copy(s3_server: Any, tmp_path: Path) -> None:
    from tests.servers import buckets

    buckets.make(s3_server, "spark")
    lake = Lake("s3://spark/a lake", Connection.parse("s3", s3_server.connections()["s3_default"]))
    table = lake.table("p/rows")
    given = pa.table({"n": list(range(1000)), "s": ["é"] * 1000})
    table.commit(table.stage(given.to_batches(), given.schema), schema=given.schema)
    settings = {"master": "local[1]", "driver_memory": "512m", "event_log": True}
    with session(settings, tmp_path, lake, name="a test") as spark:
        paths = [uri(name) for name in table.snapshot().files]
        frame = spark.read.parquet(*paths)
        folder = table.staging()
        frame.repartition(2).write.parquet(uri(folder))
        assert sorted(row.n for row in spark.read.parquet(uri(folder)).collect()) == list(range(1000))
    assert all(name.endswith(".parquet") for name in find_files(table.filesystem, folder))
    assert len(find_files(table.filesystem, folder)) == 2
    below = folder.removeprefix("s3://spark/a lake/")
    assert not [name for name in lake.documents.names(below) if "magic" in name or "_temporary" in name]
    events = list(lake.documents.names("spark-events"))
    assert any("/events_1_" in name for name in events)

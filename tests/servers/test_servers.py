"""Each server starts, does its work, and comes back after kill -9 with what it had."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from obstore.exceptions import PermissionDeniedError
from obstore.store import S3Store
from tests.servers import buckets

from tradewind.dev import ports, processes
from tradewind.dev.running import start
from tradewind.dev.servers.base import answer
from tradewind.dev.servers.kafka import Kafka
from tradewind.dev.servers.mlflow import MLflow
from tradewind.dev.servers.s3 import REGION, S3
from tradewind_runtime.contract.errors import TradewindError

pytestmark = pytest.mark.server


def _consume(broker: Kafka) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe(["words"])
    try:
        found = consumer.consume(2, timeout=20)
    finally:
        consumer.close()
    return [message.value() for message in found]


def test_kafka_keeps_messages_over_a_kill_and_other_ports(tmp_path):
    folder = tmp_path / "a b"
    running = start(Kafka.at(folder))
    producer = Producer({"bootstrap.servers": running.server.address, "enable.idempotence": True})  # in order
    for word in (b"one", b"two"):
        producer.produce("words", word, partition=0)
    assert producer.flush(20) == 0
    running.kill()
    with start(Kafka.at(folder)) as again:
        assert again.server.ports != running.server.ports
        assert _consume(again.server) == [b"one", b"two"]


def _bucket(server: S3, secret: str, name: str = "landing") -> S3Store:
    return S3Store(
        name, endpoint=server.address, region=REGION, access_key_id=server.key, secret_access_key=secret,
        client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )  # fmt: skip


def test_s3_keeps_objects_over_a_kill_and_asks_for_the_secret(tmp_path):
    running = start(S3.at(tmp_path / "a b"))
    _bucket(running.server, running.server.secret).put("weather/1.csv", b"rain")
    running.kill()
    with start(running.server) as again:
        assert bytes(_bucket(again.server, again.server.secret).get("weather/1.csv").bytes()) == b"rain"
        with pytest.raises(PermissionDeniedError):
            _bucket(again.server, "wrong").get("weather/1.csv")


def test_a_bucket_takes_one_of_the_volumes_that_a_disk_has_room_for(tmp_path):
    with start(S3.at(tmp_path)) as running:
        store, count = running.server, 8
        for number in range(count):
            buckets.make(store, f"bucket{number}")
            _bucket(store, store.secret, f"bucket{number}").put("x", b"x")
        room = answer(f"http://{store.host}:{store.ports['master']}/dir/status")["Topology"]
    assert room["Max"] - room["Free"] <= count + 1, "all fail that come when none is left"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127/8 without being asked")
def test_a_server_listens_on_the_address_that_it_is_given_and_no_other(tmp_path):
    with start(
        S3(folder=tmp_path, host="127.0.0.2", ports=ports.choose(dict.fromkeys(S3.wants), host="127.0.0.2"))
    ) as s3:
        mine = {process.pid for process in processes.tree(s3.process.pid)}
        listening = {
            found.laddr.ip for found in psutil.net_connections("tcp")
            if found.status == psutil.CONN_LISTEN and found.pid in mine
        }  # fmt: skip
    assert listening - {ports.LOOPBACK} == {"127.0.0.2"}  # SeaweedFS is on the loopback besides


def test_mlflow_answers_on_the_loopback_alone(mlflow_server):
    listening = {
        found.laddr.ip for found in psutil.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN and found.laddr.port == urlsplit(mlflow_server).port
    }  # fmt: skip
    assert listening == {ports.LOOPBACK}
    assert answer(f"{mlflow_server}/version")


def test_mlflow_makes_no_folder_beside_its_own(tmp_path):
    with start(MLflow.at(tmp_path / "a b")) as running:
        assert answer(f"{running.server.address}/api/2.0/mlflow/experiments/search?max_results=1")
    assert [path.name for path in tmp_path.iterdir()] == ["a b"]
    assert {path.name for path in (tmp_path / "a b").iterdir()} == {"mlflow.db", "mlflow.log"}


def test_a_server_that_ends_says_why(tmp_path):
    class Broken(MLflow):
        def command(self):
            return ["sh", "-c", "echo no such store; exit 3"]

    with pytest.raises(TradewindError, match=r"(?s)ended with 3.*no such store"):
        start(Broken.at(tmp_path))

"""A Kafka broker: KRaft, one node, no ZooKeeper, from jars."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tradewind.dev import jars, ports
from tradewind.dev.servers.base import Server
from tradewind_runtime import java
from tradewind_runtime.contract.errors import Problem, TradewindError

_CLUSTER = "dHJhZGV3aW5kLWxvY2FsLQ"  # 16 bytes in base64: the same node in the same folder
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{kafka},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{kafka}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=2
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.retention.ms=-1
"""
_LOGGING = """\
status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


@dataclass(frozen=True, kw_only=True)
class Kafka(Server):
    """The broker, which is its own controller."""

    name: ClassVar[str] = "kafka"
    title: ClassVar[str] = "Kafka broker"
    wants: ClassVar[Mapping[str, int | None]] = {"kafka": 9092, "controller": None}

    heap_mb: int = 512

    @property
    def address(self) -> str:  # noqa: D102
        return f"{self.host}:{self.ports['kafka']}"

    def prepare(self) -> None:
        """Write its settings and format its folder, once."""
        super().prepare()
        data = self.folder / "data"
        (self.folder / "server.properties").write_text(self.settings())
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        if (data / "meta.properties").is_file():
            return
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "--ignore-formatted",
                       "-c", str(self.folder / "server.properties")),
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise TradewindError(
                Problem(code="TW322", message=f"Kafka could not format {data}", got=(done.stdout + done.stderr)[-600:])
            )

    def settings(self) -> str:
        """Its properties; of two lines with one key the last counts."""
        # A properties file knows backslashes and no quotes; spaces within a value are kept.
        data = str(self.folder / "data").replace("\\", "\\\\")
        return _SETTINGS.format(host=self.host, data=data, **self.ports)

    def _java(self, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={(self.folder / 'log4j2.properties').as_uri()}"
        return [str(java.find().executable), *options, logging, "-cp", f"{jars.resolve()}/*", *arguments]

    def command(self) -> list[str]:  # noqa: D102
        options = (f"-Xmx{self.heap_mb}m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
        return self._java("kafka.Kafka", str(self.folder / "server.properties"), options=options)

    def healthy(self) -> bool:
        """A client sees a controller and a broker."""
        if not ports.answers(self.ports["kafka"], self.host):
            return False
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0, "socket.timeout.ms": 3000})
        try:
            return bool(client.list_topics(timeout=3).brokers)
        except KafkaException:
            return False

    def connections(self) -> dict[str, str]:  # noqa: D102
        body = {
            "conn_type": "kafka", "host": self.host, "port": self.ports["kafka"],
            "extra": {"bootstrap.servers": self.address},
        }  # fmt: skip
        return {"kafka_default": json.dumps(body)}

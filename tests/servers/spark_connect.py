"""A server of Spark Connect, by the class that pyspark carries."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tests.servers.spark_cluster import HOME, SparkPart

from tradewind.dev import ports


@dataclass(frozen=True, kw_only=True)
class SparkConnect(SparkPart):
    """A server of Spark Connect with a Spark of its own, in one process."""

    name: ClassVar[str] = "spark-connect"
    wants: ClassVar[Mapping[str, int | None]] = {"grpc": 15002}

    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        return f"sc://{self.host}:{self.ports['grpc']}"

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYSPARK_PYTHON": sys.executable, "SPARK_DAEMON_MEMORY": "700m"}

    def command(self) -> list[str]:
        given = {
            "spark.master": "local[2]", "spark.ui.enabled": "false",
            "spark.driver.host": self.host, "spark.driver.bindAddress": self.host,
            "spark.connect.grpc.binding.address": self.host, "spark.connect.grpc.binding.port": self.ports["grpc"],
            "spark.local.dir": self.folder / "local", "spark.sql.warehouse.dir": self.folder / "warehouse",
            **self.options,
        }  # fmt: skip
        words = [word for name, value in given.items() for word in ("--conf", f"{name}={value}")]
        kind = "org.apache.spark.sql.connect.service.SparkConnectServer"
        return [str(HOME / "bin/spark-submit"), "--class", kind, *words, "spark-internal"]

    def healthy(self) -> bool:
        return ports.answers(self.ports["grpc"], self.host)

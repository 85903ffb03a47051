"""Spark's history server, by the class that pyspark carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.servers.spark_cluster import HOME

from tradewind.dev.servers.base import Server, answer
from tradewind_runtime import java


@dataclass(frozen=True, kw_only=True)
class SparkHistory(Server):
    """Shows the applications whose logs of events lie in a folder."""

    name: ClassVar[str] = "spark-history"
    wants: ClassVar[Mapping[str, int | None]] = {"page": None}

    logs: str  # the folder's address, in which Spark takes no letter for another

    def prepare(self) -> None:
        super().prepare()
        given = {"fs.logDirectory": self.logs, "fs.update.interval": "1s", "ui.port": self.ports["page"]}
        text = "".join(f"spark.history.{name} {value}\n" for name, value in given.items())
        (self.folder / "spark.properties").write_text(text)

    def command(self) -> list[str]:
        kind = "org.apache.spark.deploy.history.HistoryServer"
        return [str(HOME / "bin/spark-class"), kind, "--properties-file", str(self.folder / "spark.properties")]

    def environment(self) -> dict[str, str]:
        return {
            "JAVA_HOME": str(java.find().home), "SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": self.host,
            "SPARK_DAEMON_MEMORY": "256m",
        }  # fmt: skip

    def healthy(self) -> bool:
        return isinstance(answer(f"{self.address}/api/v1/applications"), list)

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.ports['page']}"

    def application(self, id: str) -> Any:
        """What it knows of one; None where it does not."""
        return answer(f"{self.address}/api/v1/applications/{id}")

"""A standalone cluster of Spark's: a master and its workers, by the classes that pyspark carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pyspark

from tradewind.dev.running import Running, start
from tradewind.dev.servers.base import Server, answer
from tradewind_runtime import java

HOME = Path(pyspark.__file__).parent


@dataclass(frozen=True, kw_only=True)
class SparkPart(Server):
    """A JVM of the cluster's, which shares a secret with the others where there is one."""

    secret: str = field(default="", repr=False)

    def prepare(self) -> None:
        super().prepare()
        given = {"spark.authenticate": "true", "spark.authenticate.secret": self.secret} if self.secret else {}
        self._properties.write_text("".join(f"{name} {value}\n" for name, value in given.items()))

    @property
    def _properties(self) -> Path:
        return self.folder / "spark.properties"

    def environment(self) -> dict[str, str]:
        return {
            "JAVA_HOME": str(java.find().home), "SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": self.host,
            "SPARK_DAEMON_MEMORY": "256m", "SPARK_NO_DAEMONIZE": "1",
        }  # fmt: skip

    def java(self, kind: str, *words: str) -> list[str]:
        given = ("--host", self.host, "--webui-port", str(self.ports["page"]))
        more = ("--properties-file", str(self._properties))
        return [str(HOME / "bin/spark-class"), f"org.apache.spark.deploy.{kind}", *given, *more, *words]

    def page(self) -> Any:
        """What its page shows, as an object; None before it listens."""
        return answer(f"http://{self.host}:{self.ports['page']}/json/")


@dataclass(frozen=True, kw_only=True)
class SparkMaster(SparkPart):
    """Who gives applications their executors."""

    name: ClassVar[str] = "spark-master"
    wants: ClassVar[Mapping[str, int | None]] = {"master": 7077, "page": None}

    @property
    def address(self) -> str:
        return f"spark://{self.host}:{self.ports['master']}"

    def command(self) -> list[str]:
        return self.java("master.Master", "--port", str(self.ports["master"]))

    def healthy(self) -> bool:
        page = self.page()
        return isinstance(page, dict) and page["status"] == "ALIVE"

    def applications(self) -> list[str]:
        """Names of those that it has now."""
        return [one["name"] for one in self.page()["activeapps"]]


@dataclass(frozen=True, kw_only=True)
class SparkWorker(SparkPart):
    """Whose machine has a core for executors."""

    name: ClassVar[str] = "spark-worker"
    wants: ClassVar[Mapping[str, int | None]] = {"page": None}

    master: str
    memory: str = "700m"

    def command(self) -> list[str]:
        given = ("--cores", "1", "--memory", self.memory, "--work-dir", str(self.folder / "work"))
        return self.java("worker.Worker", *given, self.master)

    def healthy(self) -> bool:
        page = self.page()
        return isinstance(page, dict) and bool(page["masterurl"])


@dataclass(frozen=True)
class SparkCluster:
    """One that is up."""

    leader: Running[SparkMaster]
    workers: list[Running[SparkWorker]]

    @property
    def master(self) -> SparkMaster:
        """Who may be asked."""
        return self.leader.server

    @property
    def address(self) -> str:
        """As `settings.spark.master` has it."""
        return self.master.address

    def lose(self, number: int) -> None:
        """A worker and its executors, as with their machine."""
        worker = psutil.Process(self.workers[number].process.pid)
        for one in [worker, *worker.children(recursive=True)]:
            one.kill()
        self.workers[number].process.wait(10)


@contextmanager
def cluster(folder: Path, workers: int = 2, **more: Any) -> Iterator[SparkCluster]:
    """A master and workers of a core each."""
    with ExitStack() as stack:
        leader = stack.enter_context(start(SparkMaster.at(folder / "master", **more)))
        master = leader.server.address
        made = [
            stack.enter_context(start(SparkWorker.at(folder / f"worker {number}", master=master, **more)))
            for number in range(workers)
        ]
        yield SparkCluster(leader, made)

"""Job servers of Beam's that run what they are given by a Flink or a Spark of their own, each in a JVM.

Their jars are fetched by the environment that has Ivy; that in which Beam's tests run has none.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

PYTHON = Path(__file__).parents[2] / ".venv/bin/python"
VERSION = "2.62.0"  # the newest of which all jars are to be had; the protocol is that of the newer client
_LOGGING = "org.slf4j:slf4j-simple:2.0.17"
_OPENED = ("java.io", "java.lang", "java.lang.invoke", "java.net", "java.nio", "java.time", "java.util",
           "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action",
           "sun.util.calendar")  # fmt: skip


@dataclass(frozen=True)
class Runner:
    """What runs the jobs, and how its server is started."""

    name: str
    driver: str
    modules: tuple[str, ...]
    words: tuple[str, ...]

    def command(self, port: int, folder: Path) -> list[str]:
        """The server, with a folder for what is staged."""
        jars = _said("-m", "tradewind.dev.jars", f"test-beam-{self.name}-{VERSION}", *self.modules)
        java = _said("-c", "from tradewind_runtime import java; print(java.find().executable)")
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        ports = (f"--job-port={port}", "--artifact-port=0", "--expansion-port=0", "--job-host=localhost")
        return [
            java,
            *opened,
            "-Xmx1g",
            "-cp",
            f"{jars}/*",
            self.driver,
            *ports,
            f"--artifacts-dir={folder}",
            *self.words,
        ]


FLINK = Runner(
    "flink", "org.apache.beam.runners.flink.FlinkJobServerDriver",
    (f"org.apache.beam:beam-runners-flink-1.19:{VERSION}", _LOGGING), ("--flink-master=[local]",),
)  # fmt: skip
SPARK = Runner(
    "spark", "org.apache.beam.runners.spark.SparkJobServerDriver",
    (f"org.apache.beam:beam-runners-spark-3:{VERSION}",
     *(f"org.apache.spark:spark-{name}_2.12:3.5.1" for name in ("core", "streaming", "sql"))),
    ("--spark-master-url=local[2]",),
)  # fmt: skip


def _said(*words: str) -> str:
    done = subprocess.run([PYTHON, "-W", "ignore", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()

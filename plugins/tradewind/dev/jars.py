"""Kafka's jars, resolved once by the Ivy that pyspark carries; later runs need no network."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

from tenacity import Retrying, stop_after_attempt, wait_exponential

from tradewind_runtime import caches, java
from tradewind_runtime.contract.errors import Problem, TradewindError

VERSION = "4.1.0"


def folder() -> Path:
    """Where the jars are, or will be."""
    return caches.folder() / f"kafka-{VERSION}"


def _ivy() -> Path:
    """Ivy's jar; pyspark is looked up and not imported, which takes a second."""
    spec = importlib.util.find_spec("pyspark")
    jars = sorted((Path(spec.origin).parent / "jars").glob("ivy-*.jar")) if spec and spec.origin else []
    if not jars:
        raise TradewindError(Problem(code="TW320", message="pyspark is not installed", fix="run `make setup`"))
    return jars[-1]


def _download(target: Path, cache: Path) -> None:
    command = [
        str(java.find().executable), "-jar", str(_ivy()), "-cache", str(cache),
        "-dependency", "org.apache.kafka", "kafka_2.13", VERSION, "-confs", "default", "-types", "jar", "bundle",
        "-retrieve", f"{target}/[artifact]-[revision](-[classifier]).[ext]",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    # Ivy answers 0 for what it could not find: the broker's own jar is what counts.
    if done.returncode or not list(target.glob(f"kafka_2.13-{VERSION}.jar")):
        raise TradewindError(
            Problem(code="TW321", message=f"Kafka {VERSION} could not be fetched",
                    got=(done.stdout + done.stderr)[-600:],
                    fix="check the network and run `make setup` again; what has come is kept")
        )  # fmt: skip


def resolve() -> Path:
    """The folder of Kafka's jars, fetched where it is missing; complete or not there at all.

    Raises:
        TradewindError: TW320 without pyspark, TW321 where three attempts did not bring them.
    """
    target = folder()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in Retrying(stop=stop_after_attempt(3), wait=wait_exponential(2, max=20), reraise=True):
        with attempt, tempfile.TemporaryDirectory(dir=target.parent, prefix="kafka-") as made:
            _download(Path(made) / "jars", target.parent / "ivy")
            try:
                (Path(made) / "jars").rename(target)
            except OSError:  # another process was first
                if not target.is_dir():
                    raise
    shutil.rmtree(target.parent / "ivy", ignore_errors=True)
    return target


if __name__ == "__main__":
    print(resolve())

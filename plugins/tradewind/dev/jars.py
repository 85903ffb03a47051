"""Kafka's jars, resolved once by the Ivy that pyspark carries; later runs need no network."""

from __future__ import annotations

from pathlib import Path

from tradewind_runtime import caches, ivy, java
from tradewind_runtime.contract.errors import Problem, TradewindError

VERSION = "4.1.0"


def folder() -> Path:
    """Where the jars are, or will be."""
    return caches.folder() / f"kafka-{VERSION}"


def _download(target: Path, cache: Path) -> None:
    found = java.find()
    words = ivy.command(found.executable, target.parent, bare=found.origin == java.PACKAGED)
    said = ivy.run([*words, "-dependency", "org.apache.kafka", "kafka_2.13", VERSION], target, cache)
    # Ivy answers 0 for what it could not find: the broker's own jar is what counts.
    if not list(target.glob(f"kafka_2.13-{VERSION}.jar")):
        raise ivy.NotFetchedError(said)


def resolve() -> Path:
    """The folder of Kafka's jars, fetched where it is missing; complete or not there at all.

    Raises:
        TradewindError: TW320 without pyspark, TW321 where three attempts did not bring them.
    """
    if not folder().is_dir() and ivy.spark_jars() is None:
        raise TradewindError(Problem(code="TW320", message="pyspark is not installed", fix="run `make setup`"))
    try:
        return ivy.fetched(folder(), _download)
    except ivy.NotFetchedError as error:
        raise TradewindError(
            Problem(code="TW321", message=f"Kafka {VERSION} could not be fetched", got=str(error)[-600:],
                    fix="check the network and run `make setup` again; what has come is kept")
        ) from error  # fmt: skip


if __name__ == "__main__":
    print(resolve())

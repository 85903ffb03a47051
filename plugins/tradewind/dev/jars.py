"""Jars of local servers, resolved once by the Ivy that pyspark carries; later runs need no network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tradewind_runtime import caches, ivy, java
from tradewind_runtime.contract.errors import Problem, TradewindError

VERSION = "4.1.0"  # of Kafka
_LIST = """\
<ivy-module version="2.0">
  <info organisation="tradewind" module="jars"/>
  <configurations><conf name="default"/></configurations>
  <dependencies defaultconfmapping="default->default">{}</dependencies>
</ivy-module>
"""


def folder() -> Path:
    """Where Kafka's jars are, or will be."""
    return caches.folder() / f"kafka-{VERSION}"


def resolve() -> Path:
    """The folder of Kafka's jars.

    Raises:
        TradewindError: as `fetched`.
    """
    return fetched(folder().name, f"org.apache.kafka:kafka_2.13:{VERSION}")


def fetched(name: str, *modules: str) -> Path:
    """A folder of modules (`group:name:version`) with all that they need, fetched where it is missing.

    Raises:
        TradewindError: TW320 without pyspark, TW321 where three attempts did not bring them.
    """
    target = caches.folder() / name
    if not target.is_dir() and ivy.spark_jars() is None:
        raise TradewindError(Problem(code="TW320", message="pyspark is not installed", fix="run `make setup`"))
    try:
        return ivy.fetched(target, partial(_download, modules))
    except ivy.NotFetchedError as error:
        raise TradewindError(
            Problem(code="TW321", message=f"the jars {name} could not be fetched", got=str(error)[-600:],
                    fix="check the network and run `make setup` again; what has come is kept")
        ) from error  # fmt: skip


def _download(modules: Sequence[str], target: Path, cache: Path) -> None:
    found, parts = java.find(), [module.split(":") for module in modules]
    named = [f'<dependency org="{group}" name="{name}" rev="{version}"/>' for group, name, version in parts]
    listing = target.parent / "ivy.xml"
    listing.write_text(_LIST.format("".join(named)))
    words = ivy.command(found.executable, target.parent, bare=found.origin == java.PACKAGED)
    said = ivy.run([*words, "-ivy", str(listing)], target, cache)
    # Ivy answers 0 for what it could not find: the modules' own jars are what counts.
    if not all((target / f"{name}-{version}.jar").is_file() for _, name, version in parts):
        raise ivy.NotFetchedError(said)


if __name__ == "__main__":
    print(fetched(*sys.argv[1:]) if sys.argv[1:] else resolve())

"""Python code that executors on other machines are to find."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import SparkSession, is_remote

import tradewind_runtime
from tradewind_runtime.contract.base import digest

PACKAGE = Path(tradewind_runtime.__file__).parent


def ship(spark: SparkSession, texts: Mapping[str, str], folder: Path) -> None:
    """Files by their paths below what is to be importable.

    Args:
        spark: whose executors get them.
        texts: path → content.
        folder: where the archive is kept for as long as that Spark is there.
    """
    # Spark refuses another file of a name that it knows: the same code has the same name and the same bytes.
    archive = folder / f"code-{digest(dict(texts))[:16]}.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for path, text in texts.items():
            made.writestr(zipfile.ZipInfo(path), text)
    if is_remote():
        spark.addArtifacts(str(archive), pyfile=True)
    else:
        spark.sparkContext.addPyFile(str(archive))


def ship_runtime(spark: SparkSession, folder: Path) -> None:
    """Ship this package, in this version; pods are of an image that has it."""
    if is_remote() or (spark.sparkContext.master or "").startswith("spark://"):
        files = sorted(PACKAGE.rglob("*.py"))
        ship(
            spark,
            {f"{PACKAGE.name}/{file.relative_to(PACKAGE).as_posix()}": file.read_text() for file in files},
            folder,
        )

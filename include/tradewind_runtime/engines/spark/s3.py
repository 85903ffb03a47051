"""A lake on S3: how Spark reaches it, and by which jars."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from tradewind_runtime import caches, ivy, java
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Lake

#: What is fetched; an image's build reads the same two files.
LISTING = Path(__file__).with_suffix(".xml")
SUMS = Path(__file__).with_suffix(".sha256")
#: Files are put in place as they are, by the last request of an upload in parts: nothing is copied, and what a task
#: that was lost has uploaded is never seen.
_COMMITTER = {
    "spark.hadoop.fs.s3a.committer.name": "magic",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory",
    "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    "spark.sql.parquet.output.committer.class": "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
}


def options(lake: Lake, *, own_jars: bool, send: bool = False) -> dict[str, str]:
    """The lake's store, in Hadoop's words.

    Args:
        lake: on S3.
        own_jars: whether this process uses jars of ours, as where it alone is Spark.
        send: whether its executors, on machines of others, get the same ones from it.

    Raises:
        StepError: TW546 where the jars cannot be fetched.
    """
    given = lake.options
    keys = given.get("AWS_ACCESS_KEY_ID")
    names = {
        "fs.s3a.endpoint": given.get("AWS_ENDPOINT_URL"),
        "fs.s3a.endpoint.region": given.get("AWS_REGION"),
        "fs.s3a.access.key": keys,
        "fs.s3a.secret.key": given.get("AWS_SECRET_ACCESS_KEY"),
        "fs.s3a.path.style.access": "true" if given.get("AWS_ENDPOINT_URL") else None,
        # As the SDK finds them: a pod's identity, a machine's role, variables.
        "fs.s3a.aws.credentials.provider": None
        if keys
        else "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
        # Hadoop's own way of reading: the newer one wants another client of the SDK.
        "fs.s3a.input.stream.type": "classic",
    }
    found = {f"spark.hadoop.{name}": value for name, value in names.items() if value}
    folder = jars() if own_jars else None
    here = {"spark.driver.extraClassPath": f"{folder}/*"} if folder else {}
    return found | _COMMITTER | here | ({"spark.jars": _listed(folder)} if send else {})


def _listed(folder: Path | None) -> str:
    """The jars, each by its address."""
    found = folder or ivy.spark_jars()
    assert found, "the engine is imported with pyspark alone"
    names = [line.split()[1] for line in SUMS.read_text().splitlines()]
    return ",".join((found / name).as_uri() for name in names)


def jars() -> Path | None:
    """The folder of the jars, fetched once; None where they lie among Spark's own, as in the image of steps.

    Raises:
        StepError: TW546 where three attempts did not bring them.
    """
    spark = ivy.spark_jars()
    if spark and list(spark.glob("hadoop-aws-*.jar")):
        return None
    target = caches.folder() / f"spark-s3-{hashlib.sha256(SUMS.read_bytes()).hexdigest()[:10]}"
    if target.is_dir():
        return target
    found = java.find()
    bare = found.origin == java.PACKAGED
    try:
        return ivy.fetched(target, partial(ivy.listed, found.executable, LISTING, SUMS, bare=bare))
    except ivy.NotFetchedError as error:
        raise StepError(
            "TW546",
            "the jars by which Spark reads S3 could not be fetched",
            got=str(error)[-600:],
            fix="check the network; or run the step in a pod of the image `steps`, which has them",
        ) from error

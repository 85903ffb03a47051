"""Spark Connect: this process is a client, and asks somebody's Spark over gRPC. It starts no JVM and needs no Java.

The server's Spark reads and writes the lake by rights of its own: one that got our key for it would keep the store's
client, and give it to its other users.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import quote

from pyspark.sql import SparkSession

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark.errors import LOST, cause
from tradewind_runtime.engines.spark.reach import password, reach
from tradewind_runtime.lake import Lake

#: What may be said of a Spark that is somebody else's.
SETTINGS = ("master", "connection", "shuffle_partitions", "options", "history")
_SERVER = re.compile(r"sc://(?P<host>[^\s,/:;]+)(:(?P<port>\d{1,5}))?(?P<words>/;use_ssl=(true|false))?")
_PORT = 15002
_LOOPBACK = ("localhost", "127.0.0.1")
#: By this variable alone do functions as `col` know that there is no JVM.
_MODE = "SPARK_CONNECT_MODE_ENABLED"


def asked(settings: Mapping[str, Any]) -> bool:
    """Whether somebody's server is asked."""
    return str(settings.get("master", "")).startswith("sc://")


@contextmanager
def session(settings: Mapping[str, Any], lake: Lake | None, name: str) -> Iterator[SparkSession]:
    """A session for the time of a step; what it has running then is ended with it.

    Raises:
        StepError: TW546 where no server answers or it takes no session, or the settings are not such.
    """
    host, port = address(settings, lake)
    reach([(host, port)], f"no Spark Connect server answers at sc://{host}:{port}")
    url = _url(settings)
    os.environ[_MODE] = "1"
    try:
        spark = _client(url)
        try:
            _begin(spark, {"spark.app.name": name} | options(settings), str(settings["master"]))
            yield cast("SparkSession", spark)  # not a subclass, and alike
        finally:
            spark.stop()  # quick: the server is told to end what is running
    finally:
        del os.environ[_MODE]


def _client(url: str) -> Any:
    """A session of which the server does not know yet."""
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession as Remote

    spark = Remote.builder.remote(url).create()
    # It would ask for ten minutes, and then start from nothing: the step's own retry does that.
    spark.client.set_retry_policies([DefaultPolicy(max_retries=6, max_backoff=10_000)])
    return spark


def _begin(spark: Any, given: Mapping[str, str], master: str) -> None:
    try:
        for key, value in given.items():
            spark.conf.set(key, value)
    except LOST as error:
        raise StepError(
            "TW546", f"the Spark Connect server took no session: {cause(error)}", got=master,
            fix="is it one, of Spark 4, does it want a token, and may its sessions have those settings.spark.options?",
            path="settings.spark",
        ) from error  # fmt: skip


def options(settings: Mapping[str, Any]) -> dict[str, str]:
    """Of a session: those of a server are its own."""
    partitions = settings.get("shuffle_partitions")
    return {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.parquet.compression.codec": "zstd",
        "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",  # Hadoop's, which a session has without a prefix
        **({"spark.sql.shuffle.partitions": str(partitions)} if partitions else {}),
    } | {str(name): str(value) for name, value in settings.get("options", {}).items()}


def address(settings: Mapping[str, Any], lake: Lake | None) -> tuple[str, int]:
    """Host and port of the server.

    Raises:
        StepError: TW546 where it is no such address, or the settings are not such, or it cannot see the lake.
    """
    found = _SERVER.fullmatch(str(settings["master"]))
    if not found:
        raise StepError(
            "TW546", "settings.spark.master is no address of a Spark Connect server", retryable=False,
            got=re.sub(r"token=[^;]*", "token=***", str(settings["master"])),
            expected="sc://HOST:PORT, or sc://HOST:PORT/;use_ssl=true; a token is a connection's password",
            path="settings.spark.master",
        )  # fmt: skip
    if idle := sorted(set(settings) - set(SETTINGS)):
        raise StepError(
            "TW546", f"a Spark Connect server has its own {', '.join(idle)}", retryable=False,
            expected=f"of settings.spark no more than {', '.join(SETTINGS)}", path=f"settings.spark.{idle[0]}",
        )  # fmt: skip
    if lake is not None and lake.root.startswith("file:") and found["host"] not in _LOOPBACK:
        raise StepError(
            "TW546", "a Spark Connect server elsewhere does not see a lake in a folder", retryable=False, got=lake.root,
            fix="lake: {uri: s3://…}, which the server's Spark may read and write", path="settings.spark.master",
        )  # fmt: skip
    return found["host"], int(found["port"] or _PORT)


def _url(settings: Mapping[str, Any]) -> str:
    """With the token, which goes over TLS alone."""
    master, token = str(settings["master"]), password(settings, "the server's token")
    if token is None:
        return master
    return f"{master}{'' if '/;' in master else '/'};token={quote(token, safe='')}"

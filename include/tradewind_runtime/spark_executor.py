"""An executor of Spark: what its pod runs. Spark says by variables what it is; this makes a command line of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tradewind_runtime import ivy, java

MAIN = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
_OPTION = re.compile(r"SPARK_JAVA_OPT_(\d+)")
_ARGUMENTS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}


def command(java: Path, jars: Path, given: Mapping[str, str]) -> list[str]:
    """The JVM's command line.

    Args:
        java: what to start.
        jars: Spark's own.
        given: this pod's variables.
    """
    numbered = sorted((int(found[1]), value) for name, value in given.items() if (found := _OPTION.fullmatch(name)))
    heap = given["SPARK_EXECUTOR_MEMORY"]
    classes = ":".join(filter(None, (given.get("SPARK_CLASSPATH"), f"{jars}/*")))
    arguments = [word for option, name in _ARGUMENTS.items() for word in (option, given[name])]
    options = [value for _, value in numbered]
    return [str(java), *options, f"-Xms{heap}", f"-Xmx{heap}", "-cp", classes, MAIN, *arguments]


def main() -> None:
    """Become it: signals reach the JVM itself."""
    jars = ivy.spark_jars()
    assert jars, "the image of steps has pyspark"
    words = command(java.find().executable, jars, os.environ)
    os.environ["SPARK_HOME"] = str(jars.parent)
    os.execv(words[0], words)  # noqa: S606


if __name__ == "__main__":
    main()

"""The command line of an executor, from what Spark says by variables."""

from __future__ import annotations

from pathlib import Path

from tradewind_runtime.spark_executor import MAIN, command

GIVEN = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.0.0.7:7078",
    "SPARK_EXECUTOR_ID": "3",
    "SPARK_EXECUTOR_CORES": "1",
    "SPARK_EXECUTOR_MEMORY": "896m",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.9",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "tw-exec-3",
}


def test_it_is_what_spark_starts_itself() -> None:
    options = {f"SPARK_JAVA_OPT_{n}": f"-Dn={n}" for n in (10, 2, 0)} | {"SPARK_JAVA_OPT_X": "-Dno"}
    found = command(Path("/j/java"), Path("/p/jars"), GIVEN | options)
    assert found[:8] == ["/j/java", "-Dn=0", "-Dn=2", "-Dn=10", "-Xms896m", "-Xmx896m", "-cp", "/p/jars/*"]
    assert found[8] == MAIN
    arguments = dict(zip(found[9::2], found[10::2], strict=True))
    assert arguments["--driver-url"] == GIVEN["SPARK_DRIVER_URL"]
    assert arguments["--podName"] == "tw-exec-3"


def test_a_class_path_of_the_users_comes_first() -> None:
    found = command(Path("java"), Path("/p/jars"), GIVEN | {"SPARK_CLASSPATH": "/own/*"})
    assert found[found.index("-cp") + 1] == "/own/*:/p/jars/*"

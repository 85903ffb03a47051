"""Spark with its executors as pods: the same rows as here, whatever is lost on the way, and nothing that stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster import flights
from tests.cluster.policies import reached_by_a_step
from tests.cluster.spark import LOCAL, NAMESPACE, PODS, Place, opened
from tests.restricted import assert_restricted
from tests.servers.kubernetes.cluster import Cluster
from tests.servers.kubernetes.images import Image

from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.exchange import Exchange

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
#: The demo's job; its rows go through a slow function of Python, so that there is time to do it harm.
SLOW = """
import time
from pyspark.sql import functions as F

{job}

fast = transform


@F.udf("double")
def late(value):
    time.sleep(0.001)
    return value


def transform(spark, tables, context):
    rows = fast(spark, tables, context).repartition(8)
    return rows.withColumn("distance", late("distance"))
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, steps: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(tmp_path_factory.mktemp("spark"), cluster, steps.name) as found:
        yield found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """What the transform gives in a process of this machine, from a folder."""
    lake = Lake(tmp_path_factory.mktemp("a lake").as_uri())
    return flights.told(lake, execute(flights.request(lake, flights.fill(lake), LOCAL, run="here")))


def slow() -> str:
    return SLOW.format(job=(flights.ROOT / flights.JOB).read_text().replace("from __future__ import annotations", ""))


def test_its_policies_hold(place: Place) -> None:
    assert reached_by_a_step(place.cluster, NAMESPACE, place.image, place.lake_port) == {"lake"}


def test_one_pod_gives_the_rows_that_a_process_gives(place: Place, here: tuple[int, str]) -> None:
    result = place.finish(*place.start("one", LOCAL))
    assert flights.told(place.lake, result) == here


def test_executors_give_the_rows_that_a_process_gives(place: Place, here: tuple[int, str]) -> None:
    asked, name = place.start("many", PODS)
    place.cluster.until(lambda: place.executors("many"), "an executor", seconds=300)
    executor = place.executors("many")[0]
    assert_restricted(executor["spec"])
    assert executor["metadata"]["ownerReferences"][0]["name"] == name
    assert not any("secretKeyRef" in str(one) for one in executor["spec"]["containers"][0]["env"])
    result = place.finish(asked, name)
    assert flights.told(place.lake, result) == here
    place.cluster.until(lambda: not place.pods(), "the end of all pods")
    assert any("/events_" in one for one in place.lake.documents.names("spark-events")), "its log of events"


def test_an_executor_is_lost_and_nothing_with_it(place: Place, here: tuple[int, str]) -> None:
    asked, name = place.start("lost", PODS, job=slow())
    place.cluster.until(lambda: len(place.executors("lost")) == 2, "two executors", seconds=300)
    lost = place.executors("lost")[0]["metadata"]["name"]
    place.delete(lost, "--force", "--grace-period=0")
    result = place.finish(asked, name, seconds=900)
    assert flights.told(place.lake, result) == here


@pytest.mark.parametrize("how", [(), ("--force", "--grace-period=0")], ids=["cancelled", "killed"])
def test_no_executor_outlives_its_driver(place: Place, how: tuple[str, ...]) -> None:
    run = f"ends-{len(how)}"
    asked, name = place.start(run, PODS, job=slow())
    place.cluster.until(lambda: place.executors(run), "an executor", seconds=300)
    place.delete(name, *how)
    took = place.cluster.until(lambda: not place.pods(), "the end of all pods")
    print(f"{run}: nothing is left after {took:.1f} s")
    assert place.lake.documents.get(asked.result_path) is None


def test_a_driver_dies_and_its_next_try_does_it(place: Place, here: tuple[int, str]) -> None:
    _, name = place.start("again", PODS, job=slow())
    place.cluster.until(lambda: place.executors("again"), "an executor", seconds=300)
    place.kubectl("exec", name, "--", "sh", "-c", "kill -9 $(pidof java)")
    place.cluster.until(lambda: place.phase(name) == "Failed", "the driver's end")
    place.delete(name)
    result = place.finish(*place.start("again", PODS))
    assert flights.told(place.lake, result) == here


def test_who_may_not_start_pods_is_told(place: Place) -> None:
    place.kubectl("delete", "rolebinding", f"{NAMESPACE}-executors")
    asked, name = place.start("refused", PODS)
    place.cluster.until(lambda: place.phase(name) == "Failed", "the step's end", seconds=300)
    reason = Exchange(asked, place.lake.documents).reason("ended")
    assert reason.problems[0].code == "TW546"
    assert "is forbidden" in str(reason), reason
    place.delete(name)

"""The demo's pipeline, unchanged, with its heavy steps in pods: from ingestion to an answered request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from tests.cluster.house import LAKE, ClusterHouse

from tradewind.demo.airflow import ENDED
from tradewind.demo.data import arrive, given_to
from tradewind.demo.story import PIPELINE, ROLLOUT, WINTER, Chapter
from tradewind.demo.traffic import Traffic
from tradewind.dev import stack
from tradewind_runtime.connections import Connection
from tradewind_runtime.lake import Lake
from tradewind_runtime.verify import verify_table

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
#: Two days of the window are asked about.
ASKED = Chapter("asked", "2013-03-01", "2013-03-01", "2013-03-03")


@contextmanager
def _silent(_what: str, _of: int | None) -> Iterator[Any]:
    yield lambda _done: None


@pytest.fixture(scope="module")
def demo(house: ClusterHouse) -> tuple[ClusterHouse, Lake]:
    """The house after the demo's first chapter, and its lake."""
    given = {id: Connection.parse(id, text) for id, text in stack.connections(house.folder / ".tradewind").items()}
    kafka = given["kafka_default"].extra["bootstrap.servers"]
    arrive(WINTER.name, *WINTER.arrival, kafka=kafka, s3=given["s3_default"])
    for dag_id in (PIPELINE, ROLLOUT):
        house.until(lambda dag_id=dag_id: house.dag(dag_id), f"the DAG {dag_id}")
        house.airflow.unpause(dag_id)
    house.airflow.trigger(PIPELINE, "demo-winter", WINTER.conf)
    told: list[str] = []

    def tell(task: dict[str, Any]) -> None:
        told.append(f"{task['task_id']} {task['state']} {task['duration'] or 0:.0f} s")

    state = house.airflow.follow(PIPELINE, "demo-winter", tell, timeout=1200)
    print("; ".join(told))
    assert state == "success", told
    return house, Lake(f"s3://{LAKE}/cluster", given["s3_default"])


def test_every_row_that_was_given_is_in_the_lake_once(demo: tuple[ClusterHouse, Lake]) -> None:
    house, lake = demo
    kafka = Connection.parse("k", stack.connections(house.folder / ".tradewind")["kafka_default"])
    for source, given in given_to([WINTER.arrival], kafka=kafka.extra["bootstrap.servers"]).items():
        found = verify_table(lake, f"{PIPELINE}/{source}_raw")
        assert not [line.source for line in found if not line.ok]
        assert sum(line.rows for line in found) == given.rows > 0, source


def test_its_transform_had_executors(demo: tuple[ClusterHouse, Lake]) -> None:
    """As Spark's own log of its events tells."""
    _, lake = demo
    logs = [lake.documents.get(path) for path in lake.documents.names("spark-events") if "/events_" in path]
    events = b"".join(pa.input_stream(pa.py_buffer(log), compression="zstd").read() for log in logs if log)
    assert events.count(b'"SparkListenerExecutorAdded"') >= 1


def test_the_model_answers(demo: tuple[ClusterHouse, Lake]) -> None:
    house, lake = demo
    house.cluster.until(lambda: _rolled_out(house), "the rollout's end", seconds=240)
    url = f"http://{house.address('serving')}"
    answered = Traffic(lake, url, PIPELINE).send(ASKED.window, _silent)
    print(answered)
    assert answered["rows"] > 1000
    assert not answered.get("failed")


def _rolled_out(house: ClusterHouse) -> bool:
    runs = house.airflow.runs(ROLLOUT)
    assert not [run for run in runs if run["state"] == "failed"]
    return bool(runs) and all(run["state"] in ENDED for run in runs)


def test_no_pod_is_left(demo: tuple[ClusterHouse, Lake]) -> None:
    house, _ = demo
    house.cluster.until(lambda: not [*house.pods(), *house.executors()], "the end of all pods")

"""The profile's settings as Beam's own options: what a job would be sent with, and to which runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import GoogleCloudOptions, PortableOptions, StandardOptions, WorkerOptions
from apache_beam.pipeline import PipelineVisitor
from tests.tradewind_runtime.transformable import House

from tradewind_runtime.connections import Connection
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job, TransformContext
from tradewind_runtime.engines.beam.options import installed, options, settings
from tradewind_runtime.engines.beam.tables import Store, rows
from tradewind_runtime.engines.beam.writing import Written
from tradewind_runtime.lake import Lake
from tradewind_runtime.snapshot import Snapshot

FLINK = {"runner": "flink", "options": {"job_endpoint": "jobs:8099", "parallelism": 4}}
DATAFLOW = {
    "runner": "dataflow",
    "options": {
        "project": "p", "region": "europe-west1", "temp_location": "gs://b/t", "sdk_container_image": "r/steps-beam:1",
        "max_num_workers": 5, "labels": ["team=ml"],
    },
}  # fmt: skip


def job(tmp_path: Path, beam: dict[str, Any], root: str = "s3://bucket/lake") -> Job:
    house = House(tmp_path / "lake")
    request = house.request(None, settings={"beam": beam})
    lake = Lake(root, Connection("s3_lake", "aws", login="key", password="hunter2")) if root else house.lake
    step = StepContext(request, lake, tmp_path)
    snapshot = house.lake.table("p/rows").snapshot()
    return Job(step, None, {"rows": snapshot}, house.features, TransformContext(None, None, {}), "t")


def test_the_steps_own_process_asks_the_network_for_nothing(tmp_path: Path) -> None:
    given = job(tmp_path, {"threads": 3})
    found = options(settings(given), given)
    assert found.view_as(StandardOptions).runner.endswith(".FnApiRunner")
    assert found.get_all_options()["direct_running_mode"] == "multi_threading"
    assert found.get_all_options()["direct_num_workers"] == 3


def test_a_job_servers_runner(tmp_path: Path) -> None:
    given = job(tmp_path, FLINK)
    found = options(settings(given), given)
    assert found.view_as(StandardOptions).runner == "FlinkRunner"
    assert found.view_as(PortableOptions).job_endpoint == "jobs:8099"
    assert found.get_all_options()["parallelism"] == 4
    assert found.get_all_options()["job_name"].startswith("tw-p-transform-")


def test_dataflow(tmp_path: Path) -> None:
    given = job(tmp_path, DATAFLOW)
    found = options(settings(given), given)
    assert found.view_as(StandardOptions).runner == "DataflowRunner"
    google, workers = found.view_as(GoogleCloudOptions), found.view_as(WorkerOptions)
    assert (google.project, google.region, google.labels) == ("p", "europe-west1", ["team=ml"])
    assert (workers.max_num_workers, workers.sdk_container_image) == (5, "r/steps-beam:1")


def test_dataflow_without_googles_libraries_is_told_before_anything_is_done(tmp_path: Path) -> None:
    installed(settings(job(tmp_path / "a", FLINK)))
    with pytest.raises(StepError, match="dataflow needs Google's libraries"):
        installed(settings(job(tmp_path / "b", DATAFLOW)))


def test_an_option_that_beam_does_not_know_is_refused(tmp_path: Path) -> None:
    given = job(tmp_path, {**FLINK, "options": {**FLINK["options"], "paralelism": 4}})
    with pytest.raises(StepError, match="Beam has no option 'paralelism'") as caught:
        options(settings(given), given)
    assert caught.value.problems[0].fix == "write parallelism"
    assert not caught.value.retryable


def test_settings_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"settings\.beam are not such: Value error, options: the runner flink needs"):
        settings(job(tmp_path, {"runner": "flink"}))


def test_workers_elsewhere_do_not_see_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="read and write a lake on S3"):
        settings(job(tmp_path, FLINK, root=""))
    here = {**FLINK, "options": {**FLINK["options"], "environment_type": "LOOPBACK"}}
    assert not settings(job(tmp_path / "b", here, root="")).remote


class Functions(PipelineVisitor):  # type: ignore[misc]
    """What goes to workers, as it goes, but for Beam's compression."""

    def __init__(self) -> None:
        self.pickled = b""

    def visit_transform(self, node: Any) -> None:
        if isinstance(node.transform, beam.ParDo):
            self.pickled += cloudpickle.dumps(node.transform.fn)


def test_no_secret_is_in_a_pipeline(tmp_path: Path) -> None:
    given = job(tmp_path, FLINK)
    pipeline = beam.Pipeline(options=options(settings(given), given))
    store, schema = Store("s3://bucket/lake", "s3_lake"), given.tables["rows"].schema
    table = given.step.lake.table("p/rows")
    assert "hunter2" in table.options.values()
    found = rows(pipeline, "rows", Snapshot(table, 1, ("s3://bucket/lake/tables/p/rows/a.parquet",), schema), store)
    found | Written(store, "p/features", "s3://bucket/lake/x", "x", schema, schema, "t", None)
    sent = Functions()
    pipeline.visit(sent)
    assert sent.pickled.count(b"s3_lake") == 3  # who reads, who writes, who lists
    assert b"hunter2" not in sent.pickled

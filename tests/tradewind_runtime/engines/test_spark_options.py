"""Spark's options of a profile's settings: here, on S3, on a standalone cluster, and with executors as pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.resources import mebibytes
from tradewind_runtime.engines.spark import events, s3
from tradewind_runtime.engines.spark.executors import Executors
from tradewind_runtime.engines.spark.session import options
from tradewind_runtime.lake import Lake
from tradewind_runtime.launchers.pod.executors import TEMPLATE
from tradewind_runtime.launchers.pod.names import ADDRESS, POD

DRIVER = "tw-flight-delays-transform-0123456789"
BODY = {
    "metadata": {"namespace": "ml"},
    "spec": {"containers": [{"name": "executor", "image": "r/steps@sha256:1", "imagePullPolicy": "IfNotPresent"}]},
}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    """On S3, where nobody answers; its jars are there."""
    monkeypatch.setattr(s3, "jars", lambda: Path("/jars of s3"))
    extra = {"endpoint_url": "http://127.0.0.1:1", "region_name": "eu-west-1"}
    found = Lake("s3://bucket/a lake", Connection("s3_lake", "aws", login="key", password="word", extra=extra))
    monkeypatch.setattr(type(found.documents), "put", lambda *_: None)
    return found


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that may have executors."""
    monkeypatch.setenv(TEMPLATE, json.dumps(BODY))
    monkeypatch.setenv(POD, DRIVER)
    monkeypatch.setenv(ADDRESS, "10.0.0.7")


def test_a_local_spark_on_a_folder_needs_nothing_else(tmp_path: Path) -> None:
    found = options({"master": "local[1]"}, tmp_path, Lake(tmp_path.as_uri()))
    assert found["spark.driver.host"] == "127.0.0.1"
    assert not any("s3a" in name or "kubernetes" in name for name in found)
    assert found["spark.eventLog.enabled"] == "false"


def test_a_lake_on_s3_is_reached_by_its_connection_and_by_jars_of_our_own(lake: Lake, tmp_path: Path) -> None:
    found = options({"master": "local[1]"}, tmp_path, lake)
    assert found["spark.driver.extraClassPath"] == "/jars of s3/*"
    assert found["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:1"
    assert found["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert found["spark.hadoop.fs.s3a.secret.key"] == "word"
    assert found["spark.hadoop.fs.s3a.committer.name"] == "magic"


def test_without_a_key_the_sdk_finds_who_this_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(s3, "jars", lambda: None)
    found = options({"master": "local[1]"}, tmp_path, Lake("s3://bucket/lake"))
    assert found["spark.hadoop.fs.s3a.aws.credentials.provider"].endswith("DefaultCredentialsProvider")
    assert "spark.driver.extraClassPath" not in found  # they lie among Spark's own


def test_a_cluster_of_others_has_its_own_jars(lake: Lake, tmp_path: Path) -> None:
    found = options({"master": "spark://host:7077", "jars": ["/a.jar", "/b.jar"]}, tmp_path, lake)
    assert found["spark.jars"] == "/a.jar,/b.jar"
    assert "spark.driver.extraClassPath" not in found


def test_the_log_of_events_is_asked_for_and_lies_in_the_lake(lake: Lake, tmp_path: Path) -> None:
    found = options({"master": "local[1]", "event_log": True}, tmp_path, lake)
    assert found["spark.eventLog.dir"] == "s3a://bucket/a%20lake/spark-events"


def test_who_has_a_history_server_gets_a_log_of_events_unless_he_says_otherwise(lake: Lake, tmp_path: Path) -> None:
    settings = {"master": "local[1]", "history": "https://history.example.com"}
    assert options(settings, tmp_path, lake)["spark.eventLog.enabled"] == "true"
    assert options(settings | {"event_log": False}, tmp_path, lake)["spark.eventLog.enabled"] == "false"


@pytest.mark.parametrize("address", ["https://history.example.com", "http://[::1]:18080", "https://h/spark/history/"])
def test_a_history_server_has_an_address(address: str) -> None:
    assert events.history({"history": address}) == address.rstrip("/")
    assert events.history({}) is None


@pytest.mark.parametrize(
    "address",
    ["history.example.com", "ftp://h", "https://", "https://user:word@h", "https://h/?a=b", "https://h x", 1, ""],
)
def test_a_history_server_without_an_address_is_told(address: Any, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"TW546(.|\n)*settings.spark.history is no address") as failure:
        options({"master": "local[1]", "history": address}, tmp_path, None)
    assert not failure.value.retryable


@pytest.mark.usefixtures("driver")
def test_executors_are_pods_of_this_pod(lake: Lake, tmp_path: Path) -> None:
    found = options({"master": "k8s://", "executors": {"min": 2, "max": 5, "cpu": 1.5}}, tmp_path, lake)
    assert found["spark.master"] == "k8s://https://kubernetes.default.svc"
    assert found["spark.kubernetes.driver.pod.name"] == DRIVER
    assert found["spark.kubernetes.namespace"] == "ml"
    assert found["spark.kubernetes.container.image"] == "r/steps@sha256:1"
    assert found["spark.driver.host"] == "10.0.0.7"
    assert found["spark.authenticate"] == found["spark.network.crypto.enabled"] == "true"
    assert found["spark.kubernetes.executor.request.cores"] == "1.5"
    assert found["spark.executor.cores"] == "1"
    assert found["spark.dynamicAllocation.minExecutors"] == "2"
    assert found["spark.dynamicAllocation.maxExecutors"] == "5"
    assert found["spark.sql.shuffle.partitions"] == "10"
    assert json.loads((tmp_path / "executor.json").read_text()) == BODY
    assert found["spark.eventLog.enabled"] == "true"
    assert "spark.driver.extraClassPath" not in found  # the image has them


@pytest.mark.usefixtures("driver")
def test_as_many_at_least_as_at_most_are_just_so_many(lake: Lake, tmp_path: Path) -> None:
    found = options({"master": "k8s://", "executors": {"min": 3, "max": 3}}, tmp_path, lake)
    assert found["spark.executor.instances"] == "3"
    assert "spark.dynamicAllocation.enabled" not in found


@pytest.mark.usefixtures("driver")
def test_names_of_executors_are_names_of_pods(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POD, f"tw-{'p' * 22}-{'s' * 22}-0123456789")
    prefix = options({"master": "k8s://"}, tmp_path, lake)["spark.kubernetes.executor.podNamePrefix"]
    assert len(f"{prefix}-exec-2147483647") <= 63
    assert prefix.endswith("-0123456789")


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("executors", "said"),
    [
        ({"max": 0}, "executors are not such: max"),
        ({"min": 3, "max": 2}, "min: 3 is more than max: 2"),
        ({"memory": "512Mi"}, "less than Spark starts with"),
        ({"cores": 2}, "executors are not such: cores"),
    ],
)
def test_settings_that_are_none_are_told(lake: Lake, tmp_path: Path, executors: dict[str, Any], said: str) -> None:
    with pytest.raises(StepError, match="TW546") as failure:
        options({"master": "k8s://", "executors": executors}, tmp_path, lake)
    assert said in str(failure.value)
    assert not failure.value.retryable


def test_a_process_has_no_executors(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="a driver in a pod"):
        options({"master": "k8s://"}, tmp_path, lake)


@pytest.mark.usefixtures("driver")
def test_executors_do_not_see_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="a lake on S3"):
        options({"master": "k8s://"}, tmp_path, Lake(tmp_path.as_uri()))


def test_a_standalone_cluster_is_asked_for_so_much(tmp_path: Path) -> None:
    settings = {"master": "spark://one:7077,other:7077", "executors": {"min": 1, "max": 3, "cpu": 2, "memory": "4Gi"}}
    found = options(settings, tmp_path, Lake(tmp_path.as_uri()))
    assert found["spark.master"] == "spark://one:7077,other:7077"
    assert found["spark.executor.cores"] == "2"
    assert found["spark.cores.max"] == "6"
    assert found["spark.dynamicAllocation.maxExecutors"] == "3"
    assert found["spark.sql.shuffle.partitions"] == "12"
    assert found["spark.eventLog.enabled"] == "true"
    assert not any("kubernetes" in name or "s3a" in name or "auth" in name for name in found)


def test_a_standalone_cluster_gives_what_is_free_where_nothing_is_asked_for(tmp_path: Path) -> None:
    found = options({"master": "spark://host:7077", "event_log": False}, tmp_path, Lake(tmp_path.as_uri()))
    assert not any("cores" in name or "dynamicAllocation" in name for name in found)
    assert found["spark.eventLog.enabled"] == "false"


def test_workers_get_the_jars_of_s3_from_the_driver(lake: Lake, tmp_path: Path) -> None:
    found = options({"master": "spark://host:7077"}, tmp_path, lake)
    assert found["spark.driver.extraClassPath"] == "/jars of s3/*"
    sent = found["spark.jars"].split(",")
    assert len(sent) == len(s3.SUMS.read_text().splitlines())
    assert all(one.startswith("file:///jars%20of%20s3/") and one.endswith(".jar") for one in sent)


def test_a_clusters_secret_is_its_connections_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"master": "spark://host:7077", "connection": "spark_default"}
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "password": "word"}')
    found = options(settings, tmp_path, None)
    assert found["spark.authenticate.secret"] == "word"
    assert found["spark.authenticate"] == found["spark.network.crypto.enabled"] == "true"
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark"}')
    with pytest.raises(StepError, match=r"TW546(.|\n)*has no password, which is the cluster's secret") as failure:
        options(settings, tmp_path, None)
    assert not failure.value.retryable


@pytest.mark.parametrize("master", ["spark://host", "spark://", "spark://a:7077,b", "spark://a:7077/x", "spark://a:b"])
def test_a_master_that_is_no_address_is_told(master: str, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"TW546(.|\n)*no address of a standalone master") as failure:
        options({"master": master}, tmp_path, None)
    assert not failure.value.retryable


@given(st.integers(1024, 512 * 1024))
def test_heap_and_the_rest_are_the_memory(size: int) -> None:
    wanted = Executors(memory=f"{size}Mi")
    assert wanted.heap + wanted.beside == mebibytes(wanted.memory)
    assert wanted.heap >= 450  # which Spark wants at least
    assert wanted.beside >= 384


def test_the_users_own_options_come_last(tmp_path: Path) -> None:
    found = options({"options": {"spark.sql.session.timeZone": "Asia/Tokyo"}}, tmp_path, None)
    assert found["spark.sql.session.timeZone"] == "Asia/Tokyo"

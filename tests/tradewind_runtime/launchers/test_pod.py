"""A request as a pod. Plain data: neither Airflow nor a client is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.restricted import assert_restricted

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.launchers.exchange import request_path
from tradewind_runtime.launchers.pod import PodSettings, label_value, pod, pod_name

IMAGE = "registry.example.com/tradewind/steps:1"
VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def request(**more) -> StepRequest:
    return StepRequest(
        **{"step": "train", "id": "train", "pipeline": "flights", "run_id": "r1", "lake": "s3://b/l"} | more
    )


def container(made: dict) -> dict:
    return made["spec"]["containers"][0]


def test_it_runs_the_request_that_lies_in_the_lake():
    one = request(connections={"lake": "s3_lake"})
    made = container(pod(one, PodSettings(secrets={"s3_lake": "conns/lake"}), image=IMAGE))
    assert made["command"] == ["python", "-m", "tradewind_runtime"]
    assert made["args"] == ["--lake", "s3://b/l", "--request", request_path(one), "--lake-connection", "s3_lake"]


def test_it_is_valid_and_restricted():
    made = pod(request(), PodSettings(), image=IMAGE, resources=Resources(cpu=0.5, memory="512Mi", gpu=1), timeout=60)
    kubernetes_validate.validate(made, "1.34", strict=True)
    assert_restricted(made["spec"])


def test_resources_are_the_yamls_else_the_profiles_for_this_kind():
    settings = PodSettings(resources={"train": Resources(cpu=3)})
    assert container(pod(request(), settings, image=IMAGE))["resources"]["limits"]["cpu"] == "3"
    asked = container(pod(request(), settings, image=IMAGE, resources=Resources(cpu=1.5)))
    assert asked["resources"]["requests"] == {"cpu": "1.5", "memory": "2Gi"}
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in asked["env"]


def test_a_gpu_is_asked_for_and_its_taint_tolerated():
    made = pod(request(), PodSettings(), image=IMAGE, resources=Resources(gpu=2))
    assert container(made)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert made["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "nvidia.com/gpu" not in str(pod(request(), PodSettings(), image=IMAGE)["spec"])


def test_a_pod_that_nobody_watches_ends_by_itself():
    assert pod(request(), PodSettings(), image=IMAGE, timeout=60)["spec"]["activeDeadlineSeconds"] == 360
    assert "activeDeadlineSeconds" not in pod(request(), PodSettings(), image=IMAGE)["spec"]


def test_only_a_spark_that_starts_executors_gets_a_token():
    inside = request(engine="spark", settings={"spark": {"master": "local[2]"}})
    outside = request(engine="spark", settings={"spark": {"master": "k8s://https://kubernetes.default"}})
    assert pod(inside, PodSettings(), image=IMAGE)["spec"]["automountServiceAccountToken"] is False
    assert pod(outside, PodSettings(), image=IMAGE)["spec"]["automountServiceAccountToken"] is True


def test_connections_are_references():
    one = request(connections={"source": "kafka_default", "lake": "s3_lake"})
    made = container(pod(one, PodSettings(secrets={"kafka_default": "a/b", "s3_lake": "c/d"}), image=IMAGE))
    assert made["env"][-2:] == [
        {"name": "AIRFLOW_CONN_KAFKA_DEFAULT", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
        {"name": "AIRFLOW_CONN_S3_LAKE", "valueFrom": {"secretKeyRef": {"name": "c", "key": "d"}}},
    ]
    with pytest.raises(StepError, match=r"TW592.*kafka_default"):
        pod(one, PodSettings(secrets={"s3_lake": "c/d"}), image=IMAGE)


@pytest.mark.parametrize("held", ["secret", "a/b/c", "A/b", "/b", "kafka://user:password@host"])
def test_a_place_that_is_no_secret_and_key_is_refused(held):
    with pytest.raises(ValidationError):
        PodSettings(secrets={"kafka_default": held})


def test_a_name_is_the_requests_runs_and_attempts_own():
    names = {pod_name(request()), pod_name(request(), 2), pod_name(request(run_id="r2")), pod_name(request(engine="x"))}
    assert len(names) == 4
    assert pod_name(request()) == pod_name(request())


@given(st.text(max_size=120), st.text(max_size=120), st.text(min_size=1, max_size=250))
def test_any_name_becomes_a_valid_one(pipeline, step, run):
    one = request(pipeline=pipeline, id=step, run_id=run)
    name = pod_name(one)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 63
    for value in pod(one, PodSettings(), image=IMAGE)["metadata"]["labels"].values():
        assert VALUE.fullmatch(value)
        assert len(value) <= 63


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_labels_stay_different(a, b):
    assert (label_value(a) == label_value(b)) == (a == b)


def test_it_imports_neither_airflow_nor_a_client():
    code = "import sys, tradewind_runtime.launchers.pod; print({name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "tradewind_runtime" in loaded
    assert not {"airflow", "kubernetes"} & ast.literal_eval(loaded)

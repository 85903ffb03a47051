"""Companions: whom a step's switchboard lets in, when it notices that one is gone, and the Job that they are."""

from __future__ import annotations

import socket
import threading
import time
from multiprocessing import AuthenticationError

import httpx
import kubernetes_validate
import pytest
from tests.restricted import assert_restricted
from tests.tradewind_runtime.learnable import request

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers import jobs
from tradewind_runtime.launchers.companion_pool import CompanionPool
from tradewind_runtime.launchers.jobs import JobCompanions, job
from tradewind_runtime.launchers.lines import Switchboard, call, heard
from tradewind_runtime.launchers.pod import PodSettings, pod
from tradewind_runtime.launchers.team import Team

IMAGE = "registry.example.com/tradewind/steps@sha256:1"
TUNE = {"hyperopt": {"space": {"eta": {"float": [0, 1]}}}, "workers": "pods"}
TOKEN = {
    "name": "kube-api-access-x",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}}]},
}


def test_a_line_carries_both_ways_and_its_end_is_noticed():
    ended = threading.Event()
    with Switchboard("127.0.0.1") as board:
        mine = call("127.0.0.1", board.port, board.key, 3)
        ((index, theirs),) = board.calls(timeout=5)
        assert index == 3
        theirs.send({"do": [1, None]})
        assert mine.recv() == {"do": [1, None]}
        mine.on_end(ended.set)
        assert not ended.wait(0.2)
        theirs.close()
        assert ended.wait(2), "although nobody reads"
        assert heard([mine], 1) == [mine]
        with pytest.raises(EOFError):
            mine.recv()


def test_who_does_not_know_the_key_is_not_let_in():
    with Switchboard("127.0.0.1") as board:
        with pytest.raises((AuthenticationError, OSError, EOFError)):
            call("127.0.0.1", board.port, b"another", 0)
        stranger = socket.create_connection(("127.0.0.1", board.port))
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        mine = call("127.0.0.1", board.port, board.key, 0)  # nobody waits for the stranger
        assert [index for index, _ in board.calls(timeout=5)] == [0]
        mine.close()
        stranger.close()


class Absent:
    """Companions that do not come."""

    host = "127.0.0.1"
    stopped = False

    def start(self, words, count, *, restarts=0):
        pass

    def tend(self):
        return True

    def missing(self):
        return "tw-x-0: 0/2 nodes are available"

    def stop(self):
        self.stopped = True


def test_companions_that_do_not_come_are_told_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("tradewind_runtime.launchers.companion_pool._TEND", 0)
    there = Absent()
    one = request(tmp_path, "tune", {}, settings={"companions_timeout": 0.1})
    documents = Documents(tmp_path.as_uri())
    team = Team(one, documents, "trials", 2, make=lambda: there)
    pool = CompanionPool(2, team=team)
    pool.submit(0, one)
    with pool, pytest.raises(StepError, match=r"TW589(.|\n)*2 of 2 companions(.|\n)*0/2 nodes") as caught:
        pool.next()
    assert caught.value.retryable
    assert there.stopped
    assert list(documents.names("runs")) == []


def test_only_a_step_with_companions_is_told_of_itself_and_may_ask_kubernetes(tmp_path):
    def made(step, **config):
        found = pod(request(tmp_path, step, config), PodSettings(), image=IMAGE)["spec"]
        told = [one["name"] for one in found["containers"][0]["env"] if "fieldRef" in one.get("valueFrom", {})]
        return found["automountServiceAccountToken"], told

    names = ["TRADEWIND_POD", "TRADEWIND_NAMESPACE", "TRADEWIND_POD_IP"]
    distributed = {"distributed": {"workers": 2, "framework": "xgboost"}}
    assert made("tune", tune=TUNE) == (True, names)
    assert made("train", train=distributed) == (True, names)
    assert made("tune", tune=TUNE | {"workers": None}) == (False, [])
    assert made("train", train={}, tune=TUNE) == (False, [])
    assert made("tune", train=distributed, tune=TUNE | {"workers": "processes"}) == (False, [])


def own_pod(tmp_path):
    """As Kubernetes has it: with what it, Airflow and others have put in."""
    settings = PodSettings(secrets={"s3": "conns/s3"}, node_selector={"pool": "ml"})
    one = request(tmp_path, "tune", {"tune": TUNE}, connections={"lake": "s3"})
    made = pod(one, settings, image=IMAGE, timeout=60, avoid=["node-a"])
    made["metadata"] |= {"uid": "u-1"}
    made["metadata"]["labels"] |= {"dag_id": "x", "task_id": "tune", "airflow_kpo_in_cluster": "False"}
    spec = made["spec"]
    spec |= {"nodeName": "node-b", "serviceAccount": "tradewind-p", "priority": 0, "preemptionPolicy": "Never"}
    spec["volumes"].append(TOKEN)
    spec["containers"][0]["volumeMounts"].append({"name": TOKEN["name"], "mountPath": "/var/run/secrets"})
    spec["containers"].append({"name": "mesh", "image": "sidecar"})
    return made


def test_a_job_is_of_pods_like_the_steps_own_and_belongs_to_it(tmp_path):
    own = own_pod(tmp_path)
    made = job(own, "tw-p-tune-1-abc", ["--post", "x.json"], 3)
    kubernetes_validate.validate(made, "1.34", strict=True)
    spec = made["spec"]["template"]["spec"]
    assert_restricted(spec)
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": own["metadata"]["name"], "uid": "u-1"}
    ]
    assert (made["spec"]["completions"], made["spec"]["parallelism"], made["spec"]["backoffLimit"]) == (3, 3, 0)
    (container,) = spec["containers"]
    assert container["command"] == ["python", "-m", "tradewind_runtime.companion"]
    assert container["args"] == ["--post", "x.json"]
    step = own["spec"]["containers"][0]
    for same in ("image", "resources", "securityContext"):
        assert container[same] == step[same]
    assert {"AIRFLOW_CONN_S3", "HOME"} <= {one["name"] for one in container["env"]}
    assert "TRADEWIND_POD" not in {one["name"] for one in container["env"]}
    assert spec["nodeSelector"] == {"pool": "ml"}
    assert "affinity" in spec
    assert spec["automountServiceAccountToken"] is False
    assert "kube-api-access" not in str(spec)
    assert "nodeName" not in spec
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["tradewind.dev/companion"] == "true"
    assert labels["tradewind.dev/run"] == "r1"
    assert "dag_id" not in labels, "else the operator would take it for its step's pod"
    again = job(own, "tw", [], 3, restarts=2)
    kubernetes_validate.validate(again, "1.34", strict=True)
    assert again["spec"]["backoffLimitPerIndex"] == 2
    assert "backoffLimit" not in again["spec"]


class Answers:
    """Kubernetes, as a list of pods."""

    def __init__(self, *pods):
        self.pods, self.asked = pods, []

    def call(self, method, path, **more):
        self.asked.append((method, path, more))
        if isinstance(self.pods[0], Exception):
            raise self.pods[0]
        return {"items": list(self.pods)}


def ended(index=0, state=None, created="1", **status):
    """A pod of a Job."""
    return {
        "metadata": {"name": f"tw-{index}", "labels": {jobs._INDEX: str(index)}, "creationTimestamp": created},
        "spec": {"nodeName": "node-a", "containers": [{"resources": {"limits": {"memory": "2Gi"}}}]},
        "status": {"containerStatuses": [{"state": state or {"running": {}}}]} | status,
    }


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([ended(state={"terminated": {"reason": "OOMKilled", "exitCode": 137}})], "killed for its memory, limit 2Gi"),
        (
            [ended(state={"terminated": {"reason": "Error", "exitCode": 9}}), ended(created="2")],
            "exit code 9 on node-a",
        ),
        ([ended(reason="Evicted", message="low on disk")], "stopped on node-a: Evicted, low on disk"),
        ([ended(1, state={"terminated": {"exitCode": 1}})], "gone with its pod"),
    ],
)
def test_how_a_companion_ended_is_what_kubernetes_says(pods, said):
    assert said in JobCompanions(Answers(*pods), "tw", "10.0.0.1").how(0)


def test_what_keeps_companions_away_is_told():
    unscheduled = ended(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}])
    waits = ended(1, state={"waiting": {"reason": "ErrImagePull"}})
    assert JobCompanions(Answers(unscheduled, waits), "tw", "h").missing() == (
        "tw-0: 0/2 nodes are available; tw-1: ErrImagePull"
    )
    assert "network policy" in JobCompanions(Answers(ended()), "tw", "h").missing()


@pytest.mark.parametrize(
    ("code", "said", "retryable"),
    [(403, "cannot create resource", False), (403, "exceeded quota: most", True), (500, "etcd is away", True)],
)
def test_a_refusal_says_what_gives_the_right(code, said, retryable):
    answer = httpx.Response(code, json={"message": said}, request=httpx.Request("POST", "https://k"))
    error = httpx.HTTPStatusError("no", request=answer.request, response=answer)
    with pytest.raises(StepError, match=rf"TW589(.|\n)*{said}(.|\n)*companions: true") as caught:
        JobCompanions(Answers(error), "tw", "h").start([], 2)
    assert caught.value.retryable is retryable


def test_where_there_is_no_way_to_kubernetes_its_address_is_told(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    away = httpx.ConnectError("[Errno 111] Connection refused")
    said = r"TW589(.|\n)*cannot be reached at https://10.96.0.1:443: (.|\n)*refused(.|\n)*network policy"
    with pytest.raises(StepError, match=said) as caught:
        JobCompanions(Answers(away), "tw", "h").start([], 2)
    assert caught.value.retryable


def test_whoever_was_never_started_is_stopped_quickly():
    began = time.monotonic()
    there = JobCompanions(Answers(httpx.ConnectError("no")), "tw", "h")
    there.stop()
    assert time.monotonic() - began < 20

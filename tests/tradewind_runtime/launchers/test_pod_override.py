"""A fragment of a pod's spec is merged in, and what comes of it is still the step's and restricted."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.restricted import assert_restricted

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.launchers.pod import PodSettings, pod
from tradewind_runtime.launchers.pod.override import merged

REQUEST = StepRequest(
    step="train", id="train", pipeline="flights", run_id="r1", lake="s3://b/l", connections={"lake": "s3_lake"}
)
SETTINGS = PodSettings(
    pod_override=True, secrets={"s3_lake": "connections/lake"}, node_selector={"team": "a"},
    images=("example.com/ml/",), env_secrets=("team-*",), claims=("data-*",), image_pull_secrets=("pull",),
)  # fmt: skip
SIDECAR = {
    "name": "side",
    "image": "example.com/ml/side:1",
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}


def laid(fragment: dict[str, Any]) -> dict[str, Any]:
    resources = Resources(pod_override=fragment)
    return pod(REQUEST, SETTINGS, image="example.com/steps:1", resources=resources, timeout=60)


def step(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "step", **fields}]}


@pytest.mark.parametrize(
    "fragment",
    [
        {},
        {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["data"]}]},
        {"runtimeClassName": "gvisor", "schedulerName": "volcano", "terminationGracePeriodSeconds": 120},
        {"affinity": {"nodeAffinity": {}}, "nodeSelector": {"disk": "ssd"}},
        {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}},
        {"securityContext": {"supplementalGroups": [1234], "runAsUser": 1234}},
        {"initContainers": [SIDECAR | {"restartPolicy": "Always"}]},
        {"volumes": [{"name": "more", "emptyDir": {}}], **step(volumeMounts=[{"name": "more", "mountPath": "/more"}])},
        {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data-x"}}]},
        step(resources={"limits": {"rdma/hca": "1"}, "requests": {"rdma/hca": "1"}}),
        step(env=[{"name": "NCCL_DEBUG", "value": "INFO"}]),
        step(env=[{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "team-a", "key": "k"}}}]),
    ],
)
def test_what_keeps_the_standard_is_merged_in(fragment):
    made = laid(fragment)
    kubernetes_validate.validate(made, "1.34", strict=True)
    assert_restricted(made["spec"])
    assert made["spec"]["containers"][0]["command"] == ["python", "-m", "tradewind_runtime"]


def test_items_are_told_apart_by_name():
    under = laid({})["spec"]
    made = laid(step(env=[{"name": "A", "value": "1"}], ports=[{"containerPort": 9}]) | {"hostname": "x"})["spec"]
    (one,) = made["containers"]
    assert one["env"] == [*under["containers"][0]["env"], {"name": "A", "value": "1"}]
    assert one["volumeMounts"] == under["containers"][0]["volumeMounts"]
    assert made["volumes"] == under["volumes"]
    assert merged({"a": {"b": 1, "c": 2}, "l": [1]}, {"a": {"b": None}, "l": [2]}) == {"a": {"c": 2}, "l": [2]}


@pytest.mark.parametrize(
    ("fragment", "why"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": "true"}, "hostPID"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, "volume of hostPath"),
        ({"volumes": [{"name": "h", "csi": {"driver": "secrets-store.csi.k8s.io"}}]}, "volume of csi"),
        ({"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}, "token"),
        ({"volumes": [{"name": "s", "secret": {"secretName": "other"}}]}, "Secret 'other'"),
        ({"volumes": [{"name": "s", "projected": {"sources": [{"secret": {"name": "other"}}]}}]}, "Secret 'other'"),
        ({"volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "other"}}]}, "claim 'other'"),
        ({"volumes": [{"name": "c", "configMap": {"name": "other"}}]}, "ConfigMap 'other'"),
        ({"volumes": None}, "volumes are missing"),
        ({"volumes": [{"name": "tmp", "emptyDir": None}]}, "volume tmp"),
        ({"securityContext": None}, "runAsNonRoot"),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"securityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
        ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "appArmorProfile"),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "sysctl"),
        ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "seLinuxOptions"),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "windowsOptions"),
        ({"serviceAccountName": "admin"}, "serviceAccountName"),
        ({"serviceAccount": "admin"}, "serviceAccount"),
        ({"automountServiceAccountToken": True}, "automountServiceAccountToken"),
        ({"activeDeadlineSeconds": None}, "activeDeadlineSeconds"),
        ({"restartPolicy": "Always"}, "restartPolicy"),
        ({"nodeName": "control-plane"}, "nodeName"),
        ({"nodeSelector": {"team": "b"}}, "nodeSelector team"),
        ({"nodeSelector": None}, "nodeSelector team"),
        ({"priorityClassName": "system-node-critical"}, "priority"),
        ({"imagePullSecrets": [{"name": "other"}]}, "Secret 'other'"),
        ({"ephemeralContainers": [SIDECAR]}, "ephemeralContainers"),
        ({"metadata": {"labels": {}}}, "metadata"),
        ({"metadata": {"namespace": "kube-system"}}, "namespace"),
        ({"spec": {"hostNetwork": True}}, "spec is not"),
        ({"containers": [{"$patch": "replace"}]}, "patch"),
        ({"containers": None}, "containers are missing"),
        ({"containers": [{"image": "example.com/ml/x:1"}]}, "name of the step"),
        ({"containers": 5}, "not a list"),
        ({"containers": ["step"]}, "not a list"),
        ({"containers": [{"name": "side"}]}, "container side: allowPrivilegeEscalation"),
        ({"containers": [SIDECAR | {"image": "evil:1"}]}, "image 'evil:1'"),
        ({"containers": [SIDECAR | {"resources": {}}]}, "limits"),
        ({"initContainers": [SIDECAR | {"securityContext": {"privileged": True}}]}, "privileged"),
        (step(image="example.com/ml/x:1"), "image of the step"),
        (step(command=["sh"]), "command of the step"),
        (step(args=None), "args of the step"),
        (step(envFrom=[{"secretRef": {"name": "team-a"}}]), "envFrom"),
        (step(env=None), "variable HOME"),
        (step(env=[{"name": "HOME", "value": "/"}]), "variable HOME"),
        (step(env=[{"name": "AIRFLOW_CONN_S3_LAKE", "value": "x"}]), "variable AIRFLOW_CONN_S3_LAKE"),
        (step(env=[{"name": "LD_PRELOAD", "value": "/data/x.so"}]), "LD_PRELOAD"),
        (
            step(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "connections", "key": "kafka"}}}]),
            "'connections'",
        ),
        (step(volumeMounts=None), "what is at /tmp"),
        (step(volumeMounts=[{"name": "tmp", "mountPath": "/opt/tradewind"}]), "/opt/tradewind"),
        (step(securityContext={"privileged": True}), "privileged"),
        (step(securityContext={"allowPrivilegeEscalation": True}), "allowPrivilegeEscalation"),
        (step(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "capabilities"),
        (step(securityContext={"readOnlyRootFilesystem": False}), "readOnlyRootFilesystem"),
        (step(securityContext={"runAsUser": 0}), "runAsUser"),
        (step(securityContext={"procMount": "Unmasked"}), "procMount"),
        (step(ports=[{"containerPort": 80, "hostPort": 80}]), "port of the node"),
        (step(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}), "another host"),
        (step(resources=None), "limits"),
    ],
)
def test_all_else_is_refused(fragment, why):
    with pytest.raises(StepError, match=rf"TW164(.|\n)*({why})") as caught:
        laid(fragment)
    (problem,) = caught.value.problems
    assert problem.path == "resources.pod_override"


def test_all_reasons_are_told_at_once():
    with pytest.raises(StepError, match=r"hostNetwork.*; .*privileged"):
        laid({"hostNetwork": True, **step(securityContext={"privileged": True})})


_NAMES = st.sampled_from(
    ["containers", "initContainers", "volumes", "securityContext", "name", "step", "side", "tmp", "env", "volumeMounts",
     "mountPath", "/tmp", "/data", "image", "command", "capabilities", "add", "drop", "ALL", "privileged", "hostPath",
     "hostNetwork", "runAsUser", "runAsNonRoot", "seccompProfile", "type", "RuntimeDefault", "resources", "limits",
     "nodeSelector", "emptyDir", "projected", "sources", "ports", "hostPort", "sysctls", "tolerations", "value"]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | _NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=400)
@given(fragment=st.dictionaries(_NAMES, _JSON, max_size=4))
def test_whatever_is_laid_over_it_the_pod_is_restricted_or_refused(fragment):
    plain = laid({})
    try:
        made = laid(fragment)
    except StepError as error:
        if "TW164" in str(error):
            return
        raise
    assert_restricted(made["spec"])
    assert made["metadata"] == plain["metadata"]
    ours, theirs = plain["spec"]["containers"][0], made["spec"]["containers"][0]
    assert all(theirs[key] == ours[key] for key in ("name", "image", "command", "args"))
    assert made["spec"]["serviceAccountName"] == plain["spec"]["serviceAccountName"]

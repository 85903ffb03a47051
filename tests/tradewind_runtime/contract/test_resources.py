"""What a step may ask for: a closed list, each part of a form that Kubernetes takes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tradewind_runtime.contract.resources import Gpu, Resources, grown


def test_gpus_may_be_written_short():
    assert Resources.model_validate({"gpu": 2}).gpu == Gpu(count=2)
    assert Resources.model_validate({"gpu": {"kind": "H100"}}).gpu == Gpu(count=1, kind="H100")
    assert Resources().gpu.count == 0


@pytest.mark.parametrize("mig", ["1g.10gb", "7g.80gb", "1c.3g.40gb", "1g.10gb.me"])
def test_parts_of_a_gpu(mig):
    assert Gpu(mig=mig).mig == mig


@pytest.mark.parametrize(
    "asked",
    [
        {"gpu": -1},
        {"gpu": True},
        {"gpu": 1.5},
        {"gpu": "many"},
        {"gpu": {"count": 0, "kind": "H100"}},
        {"gpu": {"kind": ""}},
        {"gpu": {"kind": "an H100"}},
        {"gpu": {"mig": "8g.80gb"}},
        {"gpu": {"mig": "10gb"}},
        {"gpu": {"mig": "1g.10gb/../x"}},
        {"gpus": 1},
        {"cpu": 0},
        {"memory": "0Gi"},
        {"memory": "4G"},
        {"memory": "1Gi", "shm": "2Gi"},
        {"ephemeral": "20"},
        {"node_selector": {"a b": "c"}},
        {"node_selector": {"a": "b c"}},
        {"tolerations": [{"operator": "Exists"}]},
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
        {"tolerations": [{"key": "a", "tolerationSeconds": 3}]},
        {"tolerations": [{"key": "a", "toleration": 3}]},
        {"priority": "system-node-critical"},
        {"priority": "High"},
        {"image": "registry.example.com/ml/train"},
        {"image": "registry.example.com/ml/train:latest"},
        {"image": "registry.example.com/ml/../evil:1"},
        {"image": "registry.example.com:5000/ml"},
        {"env": {"KEY": "secret"}},
        {"env": {"1KEY": "secret/key"}},
        {"volumes": [{"path": "/data"}]},
        {"volumes": [{"claim": "a", "config_map": "b", "path": "/data"}]},
        {"volumes": [{"config_map": "b", "path": "/data", "read_only": False}]},
        {"volumes": [{"claim": "a", "path": "/data"}, {"claim": "b", "path": "/data"}]},
        {"volumes": [{"host_path": "/", "path": "/data"}]},
        {"after_oom": 1},
        {"after_oom": 9},
        {"pod_override": ["hostNetwork"]},
    ],
)
def test_what_no_pod_could_have_is_refused(asked):
    with pytest.raises(ValidationError):
        Resources.model_validate(asked)


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "AIRFLOW_CONN_LAKE",
     "_AIRFLOW__X", "TRADEWIND_PROFILE", "NVIDIA_VISIBLE_DEVICES", "KUBERNETES_SERVICE_HOST", "JAVA_TOOL_OPTIONS"],
)  # fmt: skip
def test_variables_that_decide_what_runs_are_refused(name):
    with pytest.raises(ValidationError, match=name):
        Resources.model_validate({"env": {name: "secret/key"}})


def test_other_variables_are_not():
    names = ("HF_TOKEN", "WANDB_API_KEY", "AWS_REGION", "MY_PATH", "HOMES")
    assert set(Resources.model_validate({"env": dict.fromkeys(names, "s/k")}).env) == set(names)


@pytest.mark.parametrize(
    "path",
    ["/", "/tmp", "/tmp/x", "/scratch", "/opt", "/opt/tradewind/plugins", "/dev/shm", "/proc/1", "/etc", "/usr/lib",
     "/var/run", "data", "/data/", "/data/../etc", "//etc", "/data:rw", ""],
)  # fmt: skip
def test_folders_that_are_ours_are_refused(path):
    with pytest.raises(ValidationError):
        Resources.model_validate({"volumes": [{"claim": "a", "path": path}]})


@pytest.mark.parametrize("path", ["/data", "/data/a.b", "/opt/models", "/mnt/tmp", "/tmpdata", "/home/me"])
def test_other_folders_are_not(path):
    assert Resources.model_validate({"volumes": [{"claim": "a", "path": path}]}).volumes[0].read_only


def test_a_try_after_one_without_memory_gets_more():
    asked = Resources(memory="3Gi", shm="1Gi", after_oom=1.5)
    assert [grown(asked, times).memory for times in (-1, 0, 1, 2)] == ["3Gi", "3Gi", "4608Mi", "6912Mi"]
    assert grown(asked, 2).shm == "1Gi"
    assert grown(Resources(memory="3Gi"), 2).memory == "3Gi"
    assert Resources.model_validate(grown(asked, 2).model_dump()) == grown(asked, 2)

"""What goes wrong on a cluster is said in the task's last line, with what to do; and what can be mended is."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.cluster import trouble
from tests.cluster.house import NAMESPACE, ClusterHouse

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
#: Pipelines that fail by themselves: what they ask for at their first pod, or what their training does.
FIRST: dict[str, dict[str, Any]] = {
    "no-gpu": {"resources": {"gpu": 2}},
    "no-image": {"environment": "absent"},
    "no-quota": {"resources": {"memory": "900Gi"}},
    "no-account": {},
    "no-secret": {"resources": {"env": {"TOKEN": "absent/key"}}},
}
TRAINING = {
    "no-memory": ("eat", {"resources": {"cpu": 0.5, "memory": "512Mi"}}),
    "no-disk": ("write", {"resources": {"cpu": 0.5, "memory": "1Gi"}}),
}
QUOTA = {
    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "most", "namespace": NAMESPACE},
    "spec": {"hard": {"limits.memory": "200Gi"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def failed(house: ClusterHouse) -> dict[str, str]:
    """Each pipeline's last words, after all of them have run at the same time."""
    house.cluster.apply(QUOTA)
    (house.folder / "include/models/trouble.py").write_text(trouble.MODELS)
    for name, first in FIRST.items():
        body = yaml.safe_load(trouble.pipeline(name, "fit"))
        body["defaults"]["steps"] = {"ingest": first}
        house.write(f"{name}.yaml", yaml.safe_dump(body))
    for name, (function, more) in TRAINING.items():
        house.write(f"{name}.yaml", trouble.pipeline(name, function, **more))
    names = [*FIRST, *TRAINING]
    for name in names:
        house.until(lambda name=name: house.dag(name), f"the DAG {name}")
        house.airflow.unpause(name)
        house.trigger(name, "r")
    for name in names:
        assert house.airflow.follow(name, "r", lambda _: None, timeout=400) == "failed", name
    return {name: last_words(house, name) for name in names}


def last_words(house: ClusterHouse, name: str) -> str:
    """Of the task that failed, as the UI shows them; with how long it took."""
    failed = [task for task in house.airflow.tasks(name, "r") if task["state"] == "failed"]
    (task,) = (task for task in failed if task["task_id"] != "release")  # which fails because another has
    return f"{task['task_id']} after {task['duration']:.0f} s: {house.error(name, 'r', task['task_id'])}"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no-gpu", r"pin .*TW578 .*: no node could have no-gpu.ingest_patients: has nvidia.com/gpu 0 of 2"),
        ("no-image", r"TW595: step 'ingest_patients' cannot have its image .*/absent:1: .*not found"),
        ("no-quota", r"pin .*TW578 .*no-quota.ingest_patients asks for more than the quota 'most' ever gives"),
        ("no-account", r"pin .*TW577 .*no service account 'tradewind-no-account'"),
        ("no-secret", r"TW594: step 'ingest_patients' cannot start on node-.: .*secret .*not found"),
        ("no-memory", r"TW596: step 'train' was killed for its memory, limit 512Mi"),
        ("no-disk", r"TW599: step 'train' was evicted from node-.: .*EmptyDir volume"),
    ],
)
def test_the_reason_is_told(failed: dict[str, str], name: str, line: str) -> None:
    print(failed[name])  # and after how long: within a minute on a machine with nothing else to do
    assert re.search(line, failed[name], re.DOTALL), failed[name]
    assert "fix: " in failed[name]


def test_nothing_is_left(failed: dict[str, str], house: ClusterHouse) -> None:
    del failed
    house.cluster.until(lambda: not house.pods(), "the end of all pods", seconds=60)

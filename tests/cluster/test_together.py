"""A pipeline whose steps start pods themselves, through Airflow: a sweep's trials, and a training on two workers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.cluster.house import ClusterHouse

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
PIPELINE = "together"
MODELS = '''\
"""Boosting on as many workers as there are."""


def train(ctx):
    return ctx.boost({"objective": "binary:logistic", **ctx.params}, 20)
'''
BODY: dict[str, Any] = {
    "version": 1,
    "pipeline": PIPELINE,
    "sources": {"patients": {"sample": {"name": "breast_cancer"}}},
    "split": {"random": {"valid": 0.2, "test": 0.2}},
    "tune": {"hyperopt": {"trials": 4, "parallel": 2, "metric": "roc_auc", "space": {"eta": {"log": [0.05, 0.3]}}}}
    | {"workers": "pods"},
    "train": {
        "function": "together:train",
        "label": "target",
        "distributed": {"workers": 2, "framework": "xgboost"},
        "resources": {"cpu": 0.3, "memory": "900Mi"},
    },
    "promote": {"model": PIPELINE, "when": {"roc_auc": {"min": 0.9}}},
}


def test_trials_and_workers_are_pods_and_none_is_left(house: ClusterHouse) -> None:
    (house.folder / "include/models/together.py").write_text(MODELS)
    house.write(f"{PIPELINE}.yaml", yaml.safe_dump(BODY, sort_keys=False))
    house.until(lambda: house.dag(PIPELINE), "the DAG")
    house.airflow.unpause(PIPELINE)
    house.trigger(PIPELINE, "r")
    seen: set[str] = set()
    house.cluster.until(lambda: _ended(house, seen), "the run's end", seconds=600)
    run = house.airflow.run(PIPELINE, "r")
    assert run is not None
    assert run["state"] == "success", house.airflow.tasks(PIPELINE, "r")
    assert {name for name in seen if name.startswith("tune")} == {"tune 0", "tune 1"}
    assert {name for name in seen if name.startswith("train")} == {"train 0"}, "the step itself is the first of two"
    assert house.airflow.told(PIPELINE, "r", "tune")["metrics"]["trials"] == 4
    house.cluster.until(lambda: not house.pods(), "the end of all pods")


def _ended(house: ClusterHouse, seen: set[str]) -> bool:
    """Whether the run has; companions that are there now are noted by their step and number."""
    for pod in house.pods(companion="true"):
        labels = pod["metadata"]["labels"]
        seen.add(f"{labels['tradewind.dev/step']} {labels['batch.kubernetes.io/job-completion-index']}")
    found = house.airflow.run(PIPELINE, "r")
    return bool(found) and found["state"] in {"success", "failed"}

"""A small pipeline with every flow, as a plan."""

from __future__ import annotations

from typing import Any

import yaml

from tradewind.plan.build import build
from tradewind.plan.code import UserCode
from tradewind.plan.model import Plan, PlanDag
from tradewind.profile import Profile
from tradewind.spec import load_text

BODY: dict[str, Any] = {
    "version": 1,
    "pipeline": "p",
    "schedule": {"cron": "@daily", "start": "2024-01-01"},
    "sources": {"rows": {"sample": {"name": "breast_cancer"}}},
    "train": {"estimator": "sklearn.LogisticRegression", "label": "target"},
    "promote": {"model": "m", "when": {"roc_auc": {"min": 0.5}}},
    "deploy": {"canary": [10, 100]},
    "monitor": {"then": "retrain"},
    "score": {"keep": []},
    "maintenance": {"keep": "30d"},
}


def plan(profile: Profile | None = None, code: dict[str, bytes] | None = None, **more: Any) -> Plan:
    pipeline = load_text(yaml.safe_dump(BODY | more), file="p.yaml")
    return build(pipeline, profile or Profile(profile="local"), UserCode(code or {}), file="p.yaml", text="text")


def ids(dag: PlanDag) -> list[str]:
    return [step.id for step in dag.steps]

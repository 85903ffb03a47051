"""Pipelines whose training meets trouble on a cluster."""

from __future__ import annotations

from typing import Any

import yaml

MODELS = '''\
"""What a training may do to its pod."""

import json
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression


def fit(ctx):
    x, y = ctx.train.numpy()
    return LogisticRegression(max_iter=20).fit(np.nan_to_num(x), y)


def eat(ctx):
    """More memory than it was given."""
    kept = []
    while True:
        kept.append(np.ones(5_000_000))
        time.sleep(0.05)


def write(ctx):
    """More than its disk may hold."""
    with Path("/scratch/big").open("wb") as file:
        for _ in range(400):
            file.write(bytes(1_000_000))
            time.sleep(0.02)
    time.sleep(120)
    return fit(ctx)


def wait(ctx):
    """Epochs of a second, each kept; it goes on where it was."""
    done, told = ctx.checkpoints.latest() or (0, b"[]")
    began = [*json.loads(told), done]
    print(f"begins at epoch {done}", flush=True)
    for epoch in range(done, int(ctx.params["epochs"])):
        time.sleep(1)
        ctx.checkpoints.save(epoch + 1, json.dumps(began).encode())
        print(f"epoch {epoch + 1}", flush=True)
    return fit(ctx)
'''


def pipeline(name: str, function: str, *, retries: int = 0, **train: Any) -> str:
    """The YAML of a pipeline with this training."""
    body = {
        "version": 1,
        "pipeline": name,
        "sources": {"patients": {"sample": {"name": "breast_cancer"}}},
        "split": {"random": {"valid": 0.2, "test": 0.2}},
        "train": {"function": f"trouble:{function}", "label": "target"} | train,
        "promote": {"model": name, "when": {"roc_auc": {"min": 0.5}}},
        "defaults": {"retries": retries, "retry_delay": "1s"},
    }
    if "params" in train:
        body["params"] = {"epochs": {"type": "integer", "default": 10}, "seed": {"type": "string", "default": ""}}
    return yaml.safe_dump(body, sort_keys=False)

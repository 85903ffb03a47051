"""The example in a process of its own, as a task starts it: killed, gone on with, judged, registered and served."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from tests.servers.model_server import model_server, request
from tests.tradewind_runtime import learnable
from tests.tradewind_runtime.steprun import start

from tradewind_runtime import artefacts, devices
from tradewind_runtime.checkpoints import Checkpoints, checkpoints_path
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import moves
from tradewind_runtime.frameworks import predictor

ROOT = Path(__file__).parents[4]
NAME = os.environ["TRADEWIND_TEST_FRAMEWORK"]
SLOWLY = """
import os, time
from tradewind_runtime.training import TrainContext
plain = TrainContext.report
def report(self, step, **metrics):
    plain(self, step, **metrics)
    time.sleep(float(os.environ.get("PAUSE", 0)))
TrainContext.report = report
"""


def asked(root: Path, ref) -> StepRequest:
    code = SLOWLY + (ROOT / f"include/models/breast_cancer_{NAME}.py").read_text().replace(
        "from __future__ import annotations\n", ""
    )
    params = {"epochs": 40, "rate": 0.01}
    return learnable.request(
        root,
        "train",
        learnable.train_config(function="mine:train", features=["b", "noise"], params=params),
        inputs={"features": ref},
        code=learnable.archive(root, mine=code),
        settings={"threads": 1, "checkpoint_seconds": 0},
    )


def finished(process: subprocess.Popen) -> str:
    errors = process.communicate(timeout=240)[1].decode()
    assert process.returncode == 0, errors[-3000:]
    return errors


def test_a_killed_training_goes_on_to_the_very_same_model(tmp_path):
    root = tmp_path / "a lake"
    ref = learnable.store(root, learnable.rows())
    documents, body = Documents(root.as_uri()), asked(root, ref)
    kept = Checkpoints(documents, checkpoints_path(body.fingerprint))
    process = start(body, "killed", PAUSE="0.1")
    deadline = time.monotonic() + 120
    while len(list(kept.documents.names(kept.folder))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1].decode()[-3000:]
        time.sleep(0.02)
    process.kill()
    process.communicate()
    step, _ = kept.latest()
    assert 2 <= step < 40
    whole = body.model_copy(update={"refresh": "anew"})
    finished(start(body, "resumed"))
    finished(start(whole, "whole"))
    assert kept.latest() is None
    resumed, other = (documents.get_model(one.result_path, StepResult) for one in (body, whole))
    assert resumed.outputs == other.outputs, "as if nobody had killed it"
    assert resumed.facts["device"] == devices.device_of({"torch": "torch", "keras": "tensorflow"}[NAME]).device
    artefact = artefacts.load(documents, resumed.outputs["model"].digest)
    assert artefact.manifest.framework == {"torch": "pytorch", "keras": "keras"}[NAME]


@pytest.mark.server
def test_an_example_is_registered_and_served(tmp_path):
    profile = tmp_path / "profiles/local.yaml"
    profile.parent.mkdir()
    profile.write_text(
        "profile: local\nlake: {uri: 'file://{home}/lake'}\nenvironments:\n"
        f"  steps: {{python: '{sys.executable}'}}\n  {NAME}: {{python: '{sys.executable}'}}\n"
    )
    for part in ("include/models", "spark_jobs"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).symlink_to(ROOT / part)
    pipeline = tmp_path / "dags/pipelines" / f"breast_cancer_{NAME}.yaml"
    pipeline.parent.mkdir(parents=True)
    pipeline.write_text((ROOT / "examples/pipelines" / pipeline.name).read_text())
    done = subprocess.run(
        [sys.executable, "-m", "tradewind.cli", "run", str(pipeline), "--format", "json"],
        cwd=tmp_path, env=os.environ | {"TRADEWIND_HOME": str(tmp_path / "home")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["ok"], (answer, done.stderr[-2000:])
    assert {step["state"] for step in answer["steps"]} == {"done"}

    lake = tmp_path / "home/lake"
    documents = Documents(lake.as_uri())
    (digest,) = documents.folders("models")
    model, endpoint = predictor(artefacts.load(documents, digest)), f"breast-cancer-{NAME}"
    data = load_breast_cancer()
    features = artefacts.manifest(documents, digest).features
    expected = model.predict(data.data)
    assert ((expected > 0.5) == data.target).mean() > 0.95
    moves.promote(documents, endpoint, digest, expected=0, version="1", by="test", reason="because")
    with model_server(lake, tmp_path / "server.log") as server:
        sent = {column: data.data[:50, index].tolist() for index, column in enumerate(features)}
        found = server.infer(endpoint, request(sent)).json()
        np.testing.assert_allclose(found["outputs"][0]["data"], expected[:50], atol=1e-6)

"""What all frameworks have in common: who learns from which rows, and what is said where one is not installed."""

import importlib.util
from typing import get_args

import pyarrow as pa
import pytest

from tradewind_runtime import distributed
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.train import Distributed, Framework
from tradewind_runtime.training import TrainContext


@pytest.fixture
def given():
    table = pa.table({"x": [float(n) for n in range(8)], "y": [0, 1] * 4})
    return TrainContext.from_tables(table, table, label="y")


@pytest.mark.parametrize(
    ("deal", "rows"),
    [
        ("shares", [[0, 3, 6], [1, 4, 7], [2, 5]]),
        ("even", [[0, 3], [1, 4], [2, 5]]),
        ("all", [[*range(8)]] * 3),
    ],
)
def test_rows_are_dealt(given, deal, rows):
    spec = Distributed(workers=3, framework="xgboost")
    found = [distributed.share(given, rank, spec, deal) for rank in range(3)]
    assert [one.train.table["x"].to_pylist() for one in found] == rows
    assert [(one.rank, one.workers, len(one.valid)) for one in found] == [(0, 3, 8), (1, 3, 8), (2, 3, 8)]


@pytest.mark.parametrize("framework", get_args(Framework))
def test_each_framework_says_how_its_workers_meet(framework, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    meeting = distributed.rendezvous(Distributed(workers=2, framework=framework))
    assert meeting.DEAL in get_args(distributed.Deal)
    assert meeting.ALONE is (framework == "ray")
    assert callable(meeting.lead)
    assert callable(meeting.join)
    if framework != "tensorflow":  # which saves and loads a model of Keras
        assert meeting.released(meeting) is meeting


@pytest.mark.parametrize(("framework", "extra"), [("torch", "torch"), ("tensorflow", "keras"), ("ray", "ray")])
def test_one_that_is_not_installed_is_told_at_once(framework, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    with pytest.raises(StepError, match=f"TW544.*the step's environment has no {framework}") as caught:
        distributed.rendezvous(Distributed(workers=2, framework=framework))
    assert not caught.value.retryable
    assert f"make setup EXTRAS={extra}" in caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1:41", "127.0.0.1"), ("[fd00::7]:41", "fd00::7"), ("worker-1:41", "worker-1")]
)
def test_an_address_has_a_host(address, host):
    assert distributed.host_of(address) == host

"""A module answers the same after export, in any shape that a task wants; what cannot be exported is told."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as weights
from tests.tradewind_runtime.learnable import rows
from torch import nn

from tradewind_runtime import learning
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.frameworks import framework_of
from tradewind_runtime.frameworks.pytorch import dumps, loads
from tradewind_runtime.training import TrainContext

HEADS = {
    "one probability": (nn.Linear(8, 1), nn.Sigmoid()),
    "two classes": (nn.Linear(8, 2), nn.Softmax(dim=1)),
    "a vector": (nn.Linear(8, 1), nn.Sigmoid(), nn.Flatten(0)),
    "many classes": (nn.Linear(8, 3), nn.Softmax(dim=1)),
    "values": (nn.Linear(8, 1),),
}

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def network(head: str) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), *HEADS[head])


def files(model: nn.Module, folder: Path) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    framework_of(model).save(model, folder, np.zeros((2, 4)))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("head", HEADS)
def test_a_module_answers_the_same_after_loading(head, tmp_path):
    model = network(head)
    first, again = files(model, tmp_path / "first"), files(network(head), tmp_path / "again")
    assert sorted(first) == ["model.onnx", "model.safetensors"]
    assert first == again, "the same module gives the same bytes"
    assert model.training, "saving leaves the module as it is"
    framework = framework_of(model)
    assert framework.NAME == "pytorch"
    wrapped, loaded = framework.wrap(model), framework.load(first)
    for count in (1, 5, 1000):
        x = np.random.default_rng(count).normal(size=(count, 4))
        answer = loaded.predict(x)
        assert answer.shape == ((count, 3) if head == "many classes" else (count,))
        np.testing.assert_allclose(answer, wrapped.predict(x), atol=1e-6)
    assert set(weights(first["model.safetensors"])) == set(model.state_dict())


def test_an_artefact_holds_no_name_of_the_machine_and_no_pickle(tmp_path):
    found = files(network("one probability"), tmp_path)
    for content in found.values():
        assert b"test_pytorch" not in content
        assert str(Path.cwd()).encode() not in content
        assert not content.startswith((b"PK", b"\x80"))


def test_a_module_that_goes_by_values_is_told(tmp_path):
    class Fickle(nn.Module):
        def forward(self, x):
            return x[:, 0] if x.sum().item() > 0 else x[:, 1]

    with pytest.raises(StepError, match="TW552") as caught:
        framework_of(Fickle()).save(Fickle(), tmp_path, np.zeros((2, 4)))
    assert "cannot be exported to ONNX" in caught.value.problems[0].message


def test_a_module_that_answers_by_chance_is_told(tmp_path):
    class Chance(nn.Module):
        def forward(self, x):
            return torch.sigmoid(x[:, 0] + torch.rand(x.shape[0]))

    model = Chance()
    framework = framework_of(model)
    saved = framework.load(files(model, tmp_path))
    with pytest.raises(StepError, match="TW561"):
        learning.same(framework.wrap(model), saved, np.zeros((100, 4)))


def test_a_state_is_the_same_after_loading():
    model = network("values")
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)
    model(torch.ones(4, 4)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state(),
             "best": [0.5, None, (True, "x")], 3: torch.tensor(1.5, dtype=torch.bfloat16)}  # fmt: skip
    content = dumps(state)
    found = loads(content)
    assert json.dumps(found["best"]) == json.dumps(state["best"])
    assert isinstance(found["best"][2], tuple)
    assert found[3].dtype == torch.bfloat16
    assert torch.equal(found["random"], state["random"])
    again = network("values")
    again.load_state_dict(found["model"])
    fresh = torch.optim.AdamW(again.parameters(), amsgrad=True)
    fresh.load_state_dict(found["optimizer"])
    assert dumps(fresh.state_dict()) == dumps(optimizer.state_dict())
    with pytest.raises(StepError, match="TW552"):
        dumps({"a": object()})


@pytest.mark.parametrize("device", DEVICES)
def test_what_goes_on_is_where_it_was(device):
    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = network("values").to(device)
        return model, torch.optim.Adam(model.parameters())

    def where(optimizer: torch.optim.Optimizer) -> list[dict[str, torch.device]]:
        states = optimizer.state_dict()["state"].values()
        return [{name: value.device for name, value in state.items()} for state in states]

    (model, optimizer), (again, fresh) = made(), made()
    model(torch.ones(4, 4, device=device)).sum().backward()
    optimizer.step()
    state = loads(dumps({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                         "random": (torch.get_rng_state(), torch.Generator(device).get_state())}))  # fmt: skip
    again.load_state_dict(state["model"])
    fresh.load_state_dict(state["optimizer"])
    assert where(fresh) == where(optimizer), "Adam waits for the GPU at each step that is counted there"
    torch.set_rng_state(state["random"][0])
    torch.Generator(device).set_state(state["random"][1])


def test_a_gpu_that_is_not_there_is_not_used():
    given = TrainContext.from_tables(rows(50), rows(50), label="label", exclude=["key", "at"])
    assert given.device == ("cuda" if torch.cuda.is_available() else "cpu")

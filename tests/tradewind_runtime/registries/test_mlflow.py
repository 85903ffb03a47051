"""Versions in MLflow, in a file and on a server: one for each artefact, however often and wherever it is killed."""

import json

import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import get_model_info
from mlflow.tracking import MlflowClient
from tests.tradewind_runtime.learnable import SPLIT, archive, request, rows, store, train_config

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.contract.usage import GpuUsage, Usage
from tradewind_runtime.documents import Documents
from tradewind_runtime.execute import execute
from tradewind_runtime.launchers.exchange import USAGE, beside, request_path
from tradewind_runtime.registries import Registration, mlflow, registry

A, B = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def file_uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('a registry')}/new folder/mlflow.db"


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.server)])
def uri(request):
    return request.getfixturevalue("file_uri" if request.param == "file" else "mlflow_server")


@pytest.fixture
def model(request):
    return f"m-{abs(hash(request.node.name))}"


def wanted(model, digest=A, **more):
    return Registration(
        model=model,
        digest=digest,
        experiment=model,
        **{
            "challenger": True,
            "params": {"eta": 0.1},
            "metrics": {"roc_auc": 0.7},
            "tags": {"tradewind.owner": "me"},
            "texts": {"pipeline.yaml": "version: 1\n"},
            "columns": {"a": "double", "n": "int64", "flag": "bool"},
            "example": ({"a": 1.5, "n": 2, "flag": None},),
        }
        | more,
    )


def test_a_version_carries_what_it_is_and_twice_is_as_once(uri, model):
    first, new = mlflow.register(uri, wanted(model))
    assert (first.version, first.digest, first.aliases, new) == ("1", A, ("challenger",), True)
    again, new = mlflow.register(uri, wanted(model))
    assert (again.version, new) == ("1", False)
    (found,) = mlflow.versions(uri, model)
    assert found.metrics == {"roc_auc": 0.7}
    assert found.params == {"eta": "0.1"}
    assert found.tags["tradewind.owner"] == "me"
    assert model in mlflow.models(uri)
    client = MlflowClient(uri, uri)
    assert len(client.search_runs([client.get_experiment_by_name(model).experiment_id])) == 1
    import mlflow as library

    library.set_tracking_uri(uri)
    library.set_registry_uri(uri)
    info = get_model_info(f"models:/{model}/1")
    assert [(column.name, column.type.name) for column in info.signature.inputs] == [
        ("a", "double"),
        ("n", "long"),
        ("flag", "boolean"),
    ]
    assert info.flavors == {"tradewind": {"digest": A, "path": f"models/{A}"}}
    assert library.artifacts.load_text(f"runs:/{found.run}/model/pipeline.yaml") == "version: 1\n"


def test_roles_move_by_version_and_twice_is_as_once(uri, model):
    mlflow.register(uri, wanted(model))
    assert mlflow.champion(uri, model) is None
    assert mlflow.challenger(uri, model) == (A, "1")
    for _ in range(2):
        assert mlflow.promote(uri, model, "1").aliases == ("champion",)
    assert (mlflow.champion(uri, model), mlflow.challenger(uri, model)) == ((A, "1"), None)
    mlflow.register(uri, wanted(model, B))
    mlflow.register(uri, wanted(model, A))  # a cached run comes by again: nothing moves
    assert (mlflow.champion(uri, model), mlflow.challenger(uri, model)) == ((A, "1"), (B, "2"))
    assert mlflow.promote(uri, model, "1").aliases == ("champion",)  # a person goes back
    assert mlflow.challenger(uri, model) == (B, "2")
    assert mlflow.promote(uri, model, "2").aliases == ("champion",)
    newest, oldest = mlflow.versions(uri, model)
    assert (newest.version, newest.tags[mlflow.REPLACED], oldest.aliases) == ("2", "1", ())
    with pytest.raises(StepError, match="no version 9"):
        mlflow.promote(uri, model, "9")


def test_one_that_did_not_pass_is_no_challenger(uri, model):
    assert mlflow.register(uri, wanted(model, challenger=False))[0].aliases == ()
    assert mlflow.challenger(uri, model) is None
    assert mlflow.champion(uri, "never-heard-of") is None
    assert mlflow.versions(uri, "never-heard-of") == []


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it is done."""


@pytest.mark.parametrize(
    "point",
    [
        "create_run",
        "log_batch",
        "log_text",
        "create_registered_model",
        "create_model_version",
        "set_registered_model_alias",
        "set_model_version_tag",
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_point_costs_nothing(file_uri, model, monkeypatch, point, after):
    real = getattr(MlflowClient, point)

    def dies(self, *args, **kwargs):
        if after:
            real(self, *args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, point, dies)
        with pytest.raises(Killed):
            mlflow.register(file_uri, wanted(model))
    version, _ = mlflow.register(file_uri, wanted(model))
    assert (version.version, version.aliases) == ("1", ("challenger",))
    assert len(mlflow.versions(file_uri, model)) == 1
    client = MlflowClient(file_uri, file_uri)
    (run,) = client.search_runs([client.get_experiment_by_name(model).experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "roc_auc")) == 1


def test_a_registry_that_does_not_answer_is_told_without_its_password(monkeypatch):
    class Gone:
        def get_model_version_by_alias(self, *_):
            raise MlflowException("connection refused")

    monkeypatch.setattr(mlflow, "client_of", lambda _uri: Gone())
    with pytest.raises(StepError, match="TW571") as caught:
        mlflow.champion("http://me:secret@127.0.0.1:1", "m")
    assert "secret" not in str(caught.value)
    assert "http://127.0.0.1:1" in str(caught.value)
    with pytest.raises(StepError, match="TW570"):
        registry("files")


def test_a_version_leads_back_to_all_that_it_came_from(tmp_path, file_uri):
    root = tmp_path / "a lake"
    ref, documents = store(root, rows()), Documents(root.as_uri())
    code = archive(
        root,
        mine="import xgboost\ndef train(ctx):\n"
        "    return xgboost.XGBClassifier(n_estimators=5).fit(*ctx.train.numpy())\n",
    )
    body = train_config(function="mine:train")

    def run(step, config, **more) -> StepResult:
        one = request(root, step, config, **{"settings": {"mlflow_uri": file_uri}} | more)
        folder = f"runs/p/{one.run_id}"
        documents.put(f"{folder}/requests/{step}-{one.fingerprint[:12]}.json", one.model_dump_json().encode())
        result = execute(one)
        documents.put(f"{folder}/results/{step}", one.result_path.encode())  # as the operator notes it
        return result

    trained = run("train", body, inputs={"features": ref}, code=code, environment="e" * 64)
    card = GpuUsage(name="H100", utilisation_mean=71, memory_peak=12_000_000, memory_total=80_000_000)
    used = Usage(seconds=9, cpu_mean=1.5, cpu_peak=2, memory_peak=1_300_000_000, gpus=(card,))
    documents.put(beside(request_path(trained), USAGE), used.model_dump_json().encode())
    model = {"model": trained.outputs["model"]}
    gate = {"train": body["train"], "split": SPLIT, "when": {"roc_auc": {"min": 0.6}}}
    judged = run("evaluate", gate, inputs={"features": ref} | model, pins={"champion": None})
    config = {"model": "lineage", "yaml": "version: 1\npipeline: p\n", "commit": "abc123", "owner": "flights"}
    inputs = {"features": ref, "evaluation": judged.outputs["evaluation"]} | model
    pins = {"sources": {"flights": {"0": 42}}, "tables": {"other/t": 3}}
    result = run("register", config, inputs=inputs, pins=pins)
    assert result.outputs["version"].digest == trained.outputs["model"].digest
    (version,) = mlflow.versions(file_uri, "lineage")
    tags = {name.removeprefix("tradewind."): value for name, value in version.tags.items()}
    assert tags["commit"] == "abc123"
    assert tags["code"] == code.archive
    assert tags["environment"] == "e" * 64
    assert json.loads(tags["tables"]) == {"p/features": ref.version, "other/t": 3}
    assert json.loads(tags["offsets"]) == {"flights": {"0": 42}}
    assert tags["window"].startswith("2013-01-01T00:00:00+00:00 2013-01-31")
    import mlflow as library

    library.set_tracking_uri(file_uri)
    origin = json.loads(library.artifacts.load_text(f"runs:/{version.run}/model/provenance.json"))
    assert origin["steps"]["train"]["code"]["closure"] == code.closure
    assert origin["yaml"] == config["yaml"]
    assert origin["artefact"] == version.digest
    assert version.metrics["roc_auc"] == judged.metrics["roc_auc"]
    assert {name: value for name, value in version.metrics.items() if name.startswith("system/")} == {
        "system/cpu_cores": 1.5,
        "system/memory_peak_megabytes": 1300,
        "system/seconds": 9,
        "system/gpu_0_memory_peak_megabytes": 12,
        "system/gpu_0_utilization_percentage": 71,
    }
    assert origin["steps"]["train"]["usage"]["seconds"] == 9
    for _ in range(2):
        promoted = run("promote", {"model": "lineage"}, inputs={"version": result.outputs["version"]}, refresh="x")
        assert promoted.facts["version"] == "1"
    assert mlflow.champion(file_uri, "lineage") == (version.digest, "1")
    wrong = result.outputs["version"].model_copy(update={"digest": B})
    with pytest.raises(StepError, match="is not the model that was rolled out"):
        run("promote", {"model": "lineage"}, inputs={"version": wrong}, refresh="y")

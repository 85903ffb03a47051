"""A sweep in MLflow: a run with one nested run a trial, however often it is killed; and nothing where it is down."""

from itertools import product

import pytest
from mlflow.tracking import MlflowClient
from tests.tradewind_runtime.learnable import request, rows, store, train_config

from tradewind_runtime.contract.sweep import Trial
from tradewind_runtime.execute import execute
from tradewind_runtime.tracking import Summary, mlflow
from tradewind_runtime.trials import Trials

PARENT = mlflow.PARENT


@pytest.fixture(scope="module")
def file_uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('a board')}/new folder/mlflow.db"


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.server)])
def uri(request):
    return request.getfixturevalue("file_uri" if request.param == "file" else "mlflow_server")


def sweep_request(root, pipeline, **more):
    tune = {"optuna": {"trials": 5, "space": {"max_depth": {"int": [1, 4]}, "eta": {"log": [0.01, 0.5]}}} | more}
    config = train_config(params={"n_estimators": 15}) | {"tune": tune}
    return request(root, "tune", config, inputs={"features": store(root, rows(400))}, pipeline=pipeline)


def runs(uri, pipeline):
    """The sweep's run, and its trials' by number."""
    client = MlflowClient(uri, uri)
    found = client.search_runs([client.get_experiment_by_name(pipeline).experiment_id])
    (parent,) = [run for run in found if PARENT not in run.data.tags]
    nested = [run for run in found if PARENT in run.data.tags]
    assert {run.data.tags[PARENT] for run in nested} == {parent.info.run_id}
    by_number = {int(run.data.tags["tradewind.trial"]): run for run in nested}
    assert len(by_number) == len(nested), "none twice"
    return client, parent, by_number


def test_a_sweep_is_shown(tmp_path, uri, request):
    pipeline = f"p{abs(hash(request.node.name))}"
    prune = {"median": {"warmup": 2, "trials": 4}}  # so four come to their end, whoever is quicker
    body = sweep_request(tmp_path, pipeline, trials=8, prune=prune)
    result = execute(body.model_copy(update={"settings": {"mlflow_uri": uri}}))
    client, parent, nested = runs(uri, pipeline)
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"tuner": "optuna", "metric": "roc_auc", "direction": "maximize", "seed": "7"}
    assert parent.data.metrics["best_score"] == result.metrics["best_score"]
    assert parent.data.metrics["trials"] == 8
    assert parent.data.tags["tradewind.ended_by"] == "trials"
    drawn = {name.partition(".")[2] for name in parent.data.metrics if name.startswith("importance.")}
    assert drawn == {"max_depth", "eta"}
    best = [one.value for one in client.get_metric_history(parent.info.run_id, "best_score")]
    assert len(best) == 9, "one a trial, and the end"
    for trial in result.facts["trials"]:
        run = nested[trial["index"]]
        assert run.data.params == {name: str(value) for name, value in trial["params"].items()}
        assert run.data.metrics["score"] == run.data.metrics["roc_auc"] == trial["score"]
        assert run.data.tags["tradewind.state"] == trial["state"]
        assert run.info.status == {"done": "FINISHED", "pruned": "KILLED"}[trial["state"]]
        assert run.info.end_time >= run.info.start_time


class Killed(BaseException):
    """What a kill looks like from inside."""


def trials_of(root, pipeline):
    """Of every kind, with times as documents have them."""
    found = Trials(sweep_request(root, pipeline), None)
    times = {"started": "2013-01-01T00:00:00Z", "finished": "2013-01-01T00:01:00Z"}
    params = {"max_depth": 2, "eta": 0.1}
    return found, [
        Trial(index=0, params=params, state="done", score=0.5, metrics={"roc_auc": 0.5}, **times),
        Trial(index=2, params=params, state="pruned", score=0.4, step=7, reason="too low", **times),
        Trial(index=1, params=params, state="failed", reason="no luck", **times),
        Trial(index=3, params=params, state="done", score=0.8, metrics={"roc_auc": 0.8}, **times),
    ]


@pytest.mark.parametrize(
    "kill", list(product(["create_run", "log_batch", "set_terminated", "set_tag"], [1, 2, 3], [False, True])), ids=str
)
def test_killed_at_any_point_and_told_again_it_is_shown_once(tmp_path, file_uri, monkeypatch, kill):
    point, call, after = kill
    pipeline = f"killed-{point.replace('_', '-')}-{call}-{after}".lower()
    trials, over = trials_of(tmp_path, pipeline)
    real, calls = getattr(MlflowClient, point), []

    def dies(self, *args, **kwargs):
        calls.append(args)
        done = real(self, *args, **kwargs) if after or len(calls) != call else None
        if len(calls) == call:
            raise Killed
        return done

    def show():
        board = mlflow.board(file_uri, trials)
        for trial in over:
            board.show(trial)
        board.close(Summary(values={"best_score": 0.8}, ended_by="trials"))

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, point, dies)
        with pytest.raises(Killed):
            show()
    show()
    client, parent, nested = runs(file_uri, pipeline)
    assert sorted(nested) == [0, 1, 2, 3]
    assert [nested[i].info.status for i in range(4)] == ["FINISHED", "FAILED", "KILLED", "FINISHED"]
    assert nested[1].data.tags["tradewind.reason"] == "no luck"
    assert nested[2].data.metrics == {"score": 0.4}
    history = client.get_metric_history(parent.info.run_id, "best_score")
    assert [(one.step, one.value) for one in history] == [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.8), (4, 0.8)]
    assert len(client.get_metric_history(nested[3].info.run_id, "roc_auc")) == 1
    assert (parent.info.status, parent.data.params["metric"]) == ("FINISHED", "roc_auc")


def test_a_failed_trial_that_is_tried_again_is_shown_as_what_it_became(tmp_path, file_uri):
    trials, over = trials_of(tmp_path, "luckier")
    mlflow.board(file_uri, trials).show(over[2])
    mlflow.board(file_uri, trials).show(over[2].model_copy(update={"state": "done", "score": 0.9, "reason": None}))
    _, _, nested = runs(file_uri, "luckier")
    assert (nested[1].info.status, nested[1].data.tags["tradewind.state"]) == ("FINISHED", "done")


def test_a_sweep_goes_on_where_mlflow_does_not_answer(tmp_path, caplog):
    body = sweep_request(tmp_path, "alone", trials=3)
    with caplog.at_level("WARNING"):
        result = execute(body.model_copy(update={"settings": {"mlflow_uri": "sqlite:////proc/no/mlflow.db"}}))
    assert result.metrics["trials"] == 3
    assert "the sweep goes on without MLflow" in caplog.text


def test_a_sweep_that_fails_is_shown_as_failed(tmp_path, file_uri):
    body = sweep_request(tmp_path, "fails", max_failures=0)
    body.config["train"]["params"]["n_estimatos"] = 3
    with pytest.raises(Exception, match="TW559"):
        execute(body.model_copy(update={"settings": {"mlflow_uri": file_uri}}))
    _, parent, nested = runs(file_uri, "fails")
    assert (parent.info.status, parent.data.tags["tradewind.ended_by"]) == ("FAILED", "failures")
    assert nested
    assert all("n_estimatos" in run.data.tags["tradewind.reason"] for run in nested.values())

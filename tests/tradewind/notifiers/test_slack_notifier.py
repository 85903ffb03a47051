"""A failed run is told from where Airflow calls back: with a whole context, and with hardly any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.servers.slack import Receiver, given, receiver

from tradewind.plan.model import Plan, PlanDag, PlanStep
from tradewind.plan.request import run_key
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.exchange import ERROR, Exchange, beside, leave

pytestmark = pytest.mark.server
RUN = "scheduled__2013-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiver(tmp_path_factory.mktemp("slack receiver")) as running, given(running.connection):
        yield running


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.test/")
    from tradewind.factory import dags_of

    steps = (PlanStep(id="pin", kind="pin", every_run=True), PlanStep(id="train", kind="train", upstream=("pin",)))
    plan = Plan(
        pipeline="flights", profile="local", file="dags/pipelines/flights.yaml", lake=tmp_path.as_uri(), pool="heavy",
        dags=(PlanDag(dag_id="flights", flow="train", steps=steps),),
        alerts={"slack": {"connection": "slack_default", "channel": "#ml", "on": ["failure"]}},
    )  # fmt: skip
    return dags_of(plan.model_dump_json(), file=str(tmp_path / "stub.py"))["flights"]


def leave_reason(lake: str) -> None:
    """As a step's process does."""
    request = StepRequest(step="train", id="train", pipeline="flights", run_id=run_key("train", RUN), lake=lake)
    exchange = Exchange(request, Documents(lake))
    exchange.begin()
    problems = StepError("TW552", "the training function returned <nothing>", got="NoneType").problems
    leave(exchange.documents, beside(exchange.path, ERROR), problems, retryable=False)


def test_the_dag_processor_knows_only_dag_and_run(slack: Receiver, dag: Any, tmp_path: Path) -> None:
    leave_reason(tmp_path.as_uri())
    dag.on_failure_callback({"dag": dag, "run_id": RUN, "reason": "task_failure"})
    message = slack.messages()[-1]
    assert message["channel"] == "#ml"
    assert message["text"].startswith("flights failed")
    told = str(message["blocks"])
    assert "• train: TW552: the training function returned &lt;nothing&gt;" in told
    assert (
        "<http://airflow.test/dags/flights/runs/scheduled__2013-01-01T00%3A00%3A00%2B00%3A00|Open in Airflow>" in told
    )
    assert slack.server.token not in str(message)


def test_without_reasons_it_says_what_it_knows(slack: Receiver, dag: Any) -> None:
    dag.on_failure_callback({"dag": dag, "run_id": RUN, "reason": "timed_out"})
    assert "• the run: timed_out" in str(slack.messages()[-1]["blocks"])
    ti = SimpleNamespace(task_id="train")
    dag.on_failure_callback({"dag": dag, "run_id": RUN, "ti": ti, "exception": ValueError("odd\nlines")})
    assert "• train: odd" in str(slack.messages()[-1]["blocks"])
    dag.on_failure_callback({"run_id": RUN, "reason": "the DAG is gone"})
    assert "the DAG is gone" in str(slack.messages()[-1]["blocks"])


def test_slack_that_refuses_is_told_to_airflow(slack: Receiver, dag: Any) -> None:
    before = len(slack.messages())
    slack.next("invalid_auth")
    with pytest.raises(StepError, match="invalid_auth"):  # which Airflow logs, and goes on
        dag.on_failure_callback({"dag": dag, "run_id": RUN})
    assert len(slack.messages()) == before


def test_importing_it_imports_no_client() -> None:
    import subprocess
    import sys

    code = "import sys, tradewind.notifiers.slack; print('slack_sdk' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["False", "False"]

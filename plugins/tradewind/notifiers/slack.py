"""A DAG's `on_failure_callback`: says in Slack which run failed, where and why.

It runs in the DAG processor, where it may only be told the DAG and the run, and where an exception is lost:
so it takes what it can get, and says at least that the run has failed. The reasons are in the lake, where the
steps left them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk.bases.notifier import BaseNotifier

from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.messages import failure

if TYPE_CHECKING:
    from airflow.sdk import Context

TRIES = 2  # the DAG processor ends callbacks that take long
_ERROR = re.compile(r"(?P<step>.+)-[0-9a-f]{12}\.error\.json$")


class SlackNotifier(BaseNotifier):
    """One message for a failed run.

    Args:
        connection: Airflow's Slack connection: password: the token; extra: `base_url` for a receiver of your own.
        channel: name or id.
        pipeline: whose DAG it is.
    """

    template_fields = ()

    def __init__(self, *, connection: str = "slack_default", channel: str, pipeline: str = "") -> None:
        super().__init__()
        self.connection = connection
        self.channel = channel
        self.pipeline = pipeline

    def notify(self, context: Context) -> None:
        """Gather and send.

        Raises:
            StepError: TW588 where Slack does not take it; Airflow writes that into the callback's log.
        """
        from tradewind.operators.connections import connection_text
        from tradewind_runtime import slack
        from tradewind_runtime.connections import Connection

        facts: Mapping[str, Any] = dict(context)
        dag_id, run_id = _names(facts)
        message = failure(dag_id, run_id, self._failed(facts, run_id), link=run_link(dag_id, run_id))
        connection = Connection.parse(self.connection, connection_text(self.connection))
        key = digest(self.pipeline, self.channel, "failure", dag_id, run_id)[:40]
        slack.send(connection, self.channel, message, key=key, event="failure", tries=TRIES)

    def _failed(self, facts: Mapping[str, Any], run_id: str) -> list[tuple[str, str]]:
        try:
            found = reasons(facts["dag"], run_id)
        except Exception as error:  # the lake may be what has failed
            self.log.warning("the reasons could not be read from the lake: %s", error)
            found = []
        ti = facts.get("ti") or facts.get("task_instance")
        if not found and ti is not None:
            found = [(str(ti.task_id), str(facts.get("exception") or ""))]
        return found or [("the run", str(facts.get("reason") or ""))]


def reasons(dag: Any, run_id: str) -> list[tuple[str, str]]:
    """Steps of a run that failed for a reason that they left in the lake, and that reason."""
    from tradewind.operators.step import StepOperator, documents_of
    from tradewind.plan.request import run_key

    step = next((task for task in dag.tasks if isinstance(task, StepOperator)), None)
    if step is None:
        return []
    documents = documents_of(step.plan)
    found = []
    for path in documents.names(f"runs/{step.plan.pipeline}/{run_key(step.flow, run_id)}/requests"):
        match = _ERROR.fullmatch(path.rpartition("/")[2])
        content = documents.get(path) if match else None
        if match and content:
            problem = json.loads(content)["problems"][0]
            found.append((match["step"], f"{problem['code']}: {problem['message']}"))
    return found


def run_link(dag_id: str, run_id: str) -> str | None:
    """The run's page in Airflow."""
    base = airflow_url()
    return f"{base}/dags/{quote(dag_id)}/runs/{quote(run_id)}" if base else None


def airflow_url() -> str | None:
    """Where people see this Airflow, or None where nobody has said so."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="")
    return str(base).rstrip("/") or None


def _names(facts: Mapping[str, Any]) -> tuple[str, str]:
    dag, run = facts.get("dag"), facts.get("dag_run")
    dag_id = getattr(dag, "dag_id", None) or getattr(run, "dag_id", None) or "?"
    return str(dag_id), str(facts.get("run_id") or getattr(run, "run_id", None) or "?")

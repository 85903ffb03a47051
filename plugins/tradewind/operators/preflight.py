"""The preflight of a run: its pods' cluster is asked by Airflow's own connection. Imported by a run with pods alone."""

from __future__ import annotations

from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

from tradewind.plan.model import Flow, Plan
from tradewind.pods.preflight import Preflight
from tradewind.pods.probes import probes
from tradewind_runtime.contract.errors import TradewindError
from tradewind_runtime.launchers.pod import PodSettings


def preflight(plan: Plan, flow: Flow, log: Any) -> None:
    """Ask, and say in one line what was found.

    Raises:
        TradewindError: with all that is wrong; where the cluster gives no answer it is worth a retry.
    """
    settings = PodSettings.model_validate(plan.kubernetes)
    found, wrong = probes(plan, {flow})
    client = KubernetesHook(conn_id=settings.connection).get_conn()
    checks = list(Preflight(client, settings, found, f"profiles/{plan.profile}.yaml").checks())
    log.info("preflight: %s", "; ".join(f"{one.what}: {one.found}" for one in checks if not one.errors))
    problems = [*wrong, *(problem for one in checks for problem in one.problems)]
    for problem in problems:
        if problem.severity == "warning" and problem.code != "TW576":  # what may not be seen may well be there
            log.warning("%s", problem)
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise TradewindError(*errors)

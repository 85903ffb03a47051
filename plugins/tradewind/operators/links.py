"""Links on a task's Details tab: what the step made that a person can look at."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from tradewind.plan.model import PlanStep

#: Title of a result's link → the XCom that carries its address.
TITLES = {
    "MLflow run": "link_mlflow",
    "Model version": "link_model_version",
    "Data docs": "link_data_docs",
    "Drift report": "link_drift_report",
    "Spark": "link_spark",
}


class ResultLink(BaseOperatorLink):
    """One title; Airflow shows it where there is an address."""

    def __init__(self, title: str) -> None:
        self._title = title

    @property
    def name(self) -> str:
        """The button's text."""
        return self._title

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return TITLES[self._title]

    def get_link(self, operator: object, *, ti_key: object) -> str:
        """Airflow asks when the task has ended, however it ended, and keeps the answer as the XCom."""
        del ti_key
        found: Mapping[str, str] = getattr(operator, "links", {})
        return found.get(self._title, "")


LINKS = tuple(ResultLink(title) for title in TITLES)
#: What each kind of step may leave: a task of another kind would show an empty link for each title.
_LEFT = {"check": ("Data docs",), "register": ("MLflow run", "Model version"), "monitor": ("Drift report",)}


def links_of(step: PlanStep) -> tuple[ResultLink, ...]:
    """The links of a step's task."""
    spark = ("Spark",) if _in_history(step) else ()
    return tuple(ResultLink(title) for title in (*_LEFT.get(step.kind, ()), *spark))


def _in_history(step: PlanStep) -> bool:
    """Whether Spark's history server may show what the step did, or what its trials ran on."""
    tune = step.config.get("tune") or {}
    return "spark" in (step.engine, tune.get("workers")) and bool((step.settings.get("spark") or {}).get("history"))


def addresses(links: Mapping[str, str], dag_id: str) -> dict[str, str]:
    """Title → address. What lies in the lake is shown by Tradewind's own page, behind Airflow's login."""
    page = f"/tradewind/lake/{quote(dag_id)}/"
    return {
        title: target if target.startswith(("http://", "https://")) else page + quote(target)
        for title, target in links.items()
        if title in TITLES
    }

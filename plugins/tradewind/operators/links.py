"""Links on a task's Details tab: what the step made that a person can look at."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from tradewind_runtime.contract.request import StepResult

#: Title of a result's link → the XCom that carries its address.
TITLES = {
    "MLflow run": "link_mlflow",
    "Data docs": "link_data_docs",
    "Drift report": "link_drift_report",
    "Endpoint": "link_endpoint",
    "Spark log": "link_spark",
}


class ResultLink(BaseOperatorLink):
    """One title; Airflow shows it where the XCom is there."""

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
        """Airflow 3 reads the XCom itself; this is only asked by older pages."""
        del operator, ti_key
        return ""


LINKS = tuple(ResultLink(title) for title in TITLES)


def link_values(result: StepResult, dag_id: str) -> dict[str, str]:
    """XCom key → address. What lies in the lake is shown by Tradewind's own page, behind Airflow's login."""
    found = {}
    for title, target in result.links.items():
        if title in TITLES:
            address = (
                target
                if target.startswith(("http://", "https://"))
                else f"/tradewind/lake/{quote(dag_id)}/{quote(target)}"
            )
            found[TITLES[title]] = address
    return found

"""Links on a task's Details tab: what the step made that a person can look at."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from tradewind_runtime.contract.request import StepResult

#: Title of a result's link → the XCom that carries its address.
TITLES = {"MLflow run": "link_mlflow", "Data docs": "link_data_docs", "Drift report": "link_drift_report",
          "Endpoint": "link_endpoint", "Spark log": "link_spark"}


class ResultLink(BaseOperatorLink):
    """One title; Airflow shows it where the XCom is there."""

    def __init__(self, title: str, key: str) -> None:
        self.name = title
        self._key = key

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return self._key

    def get_link(self, operator: object, *, ti_key: object) -> str:
        """Airflow 3 reads the XCom itself; this is only asked by older pages."""
        del operator, ti_key
        return ""


class MlflowRunLink(ResultLink):
    """The run in MLflow."""

    name = "MLflow run"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("MLflow run", TITLES["MLflow run"])


class DataDocsLink(ResultLink):
    """Great Expectations' pages."""

    name = "Data docs"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("Data docs", TITLES["Data docs"])


class DriftReportLink(ResultLink):
    """Evidently's page."""

    name = "Drift report"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("Drift report", TITLES["Drift report"])


LINKS = (MlflowRunLink(), DataDocsLink(), DriftReportLink())


def link_values(result: StepResult, dag_id: str) -> dict[str, str]:
    """XCom key → address. What lies in the lake is shown by Tradewind's own page, behind Airflow's login."""
    found = {}
    for title, target in result.links.items():
        if title in TITLES:
            address = target if target.startswith(("http://", "https://")) else f"/tradewind/lake/{quote(dag_id)}/{quote(target)}"
            found[TITLES[title]] = address
    return found

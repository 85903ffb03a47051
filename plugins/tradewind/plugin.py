"""What Tradewind adds to Airflow: its page, its timetable, and the links on tasks."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from tradewind.operators.links import LINKS
from tradewind.timetable import CronUntil


def _apps() -> list[dict[str, Any]]:
    """Only the API server needs the page; workers and the DAG processor do not have its imports to pay for."""
    import sys

    if "airflow.api_fastapi.app" not in sys.modules:
        return []
    from tradewind.ui.app import app

    return [{"app": app, "url_prefix": "/tradewind", "name": "Tradewind"}]


class TradewindPlugin(AirflowPlugin):
    """Registered by entry point, or by plugins/tradewind_plugin.py where the folder is mounted."""

    name = "tradewind"
    fastapi_apps = _apps()
    timetables = [CronUntil]  # noqa: RUF012 - as Airflow declares it
    operator_extra_links = list(LINKS)  # noqa: RUF012 - as Airflow declares it

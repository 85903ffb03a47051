"""What Tradewind adds to Airflow: its page, its timetable, the links on tasks, and on SQLite an order of writers."""

from __future__ import annotations

import sys
from typing import Any

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from tradewind.operators.links import LINKS
from tradewind.timetable import CronUntil


def _serves() -> bool:
    """Whether this is the API server; workers and the DAG processor do not have the page's imports to pay for."""
    return "airflow.api_fastapi.app" in sys.modules


def _apps() -> list[dict[str, Any]]:
    if not _serves():
        return []
    from tradewind.ui.app import app

    return [{"app": app, "url_prefix": "/tradewind", "name": "Tradewind"}]


def _middlewares() -> list[dict[str, Any]]:
    if not _serves() or not conf.get_mandatory_value("database", "sql_alchemy_conn").startswith("sqlite"):
        return []
    from tradewind.ui.turns import Turns

    return [{"middleware": Turns, "name": "Writers take turns"}]


class TradewindPlugin(AirflowPlugin):
    """Registered by entry point, or by plugins/tradewind_plugin.py where the folder is mounted."""

    name = "tradewind"
    fastapi_apps = _apps()
    fastapi_root_middlewares = _middlewares()
    timetables = [CronUntil]  # noqa: RUF012 - as Airflow declares it
    operator_extra_links = list(LINKS)  # noqa: RUF012 - as Airflow declares it

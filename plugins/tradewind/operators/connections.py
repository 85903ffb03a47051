"""Airflow's connections, in the form in which a step's process gets them."""

from __future__ import annotations


def connection_text(id: str) -> str:
    """A connection as JSON; its secrets are masked in logs by Airflow, which has seen it."""
    from airflow.sdk import Connection

    return str(Connection.get(id).as_json())

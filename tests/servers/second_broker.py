"""A broker beside another one, which is its controller: so that a partition's leader can change."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.dev.servers.kafka import Kafka

_MORE = """
process.roles=broker
node.id=2
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{kafka}
"""


@dataclass(frozen=True, kw_only=True)
class SecondBroker(Kafka):
    """It may go; the first one may not."""

    first: Kafka

    def settings(self) -> str:
        """Besides: whose it is."""
        ports = {"kafka": self.ports["kafka"], "controller": self.first.ports["controller"]}
        return super().settings() + _MORE.format(host=self.host, **ports)

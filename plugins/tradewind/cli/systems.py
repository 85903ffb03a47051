"""The lake that a profile names, for commands: connections from the environment, else of the local stack."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradewind_runtime.connections import Connection
    from tradewind_runtime.lake import Lake


def connection(id: str) -> Connection | None:
    """A connection that is at hand without asking Airflow."""
    from tradewind.dev.stack import connections
    from tradewind.profile import home, project_root
    from tradewind_runtime.connections import Connection, variable

    text = os.environ.get(variable(id)) or connections(home(project_root())).get(id)
    return Connection.parse(id, text) if text else None


def lake(profile: str | None) -> Lake:
    """The profile's lake.

    Raises:
        TradewindError: where there is no such profile.
    """
    from tradewind.profile import load_profile
    from tradewind_runtime.lake import Lake

    chosen = load_profile(profile).lake
    return Lake(chosen.uri, connection(chosen.connection) if chosen.connection else None)

"""How somebody's Spark is reached: whether it answers (Spark itself would ask for minutes), and by what secret."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from tradewind_runtime.connections import connection
from tradewind_runtime.contract.errors import StepError

_PATIENCE = 20.0  # seconds, for all addresses together


def reach(addresses: Sequence[tuple[str, int]], silent: str) -> str:
    """The address by which the first that answers sees this process.

    Args:
        addresses: hosts and ports.
        silent: what is said where none answers.

    Raises:
        StepError: TW546 then.
    """
    failures = []
    for host, port in addresses:
        try:
            with socket.create_connection((host, port), timeout=_PATIENCE / len(addresses)) as made:
                return str(made.getsockname()[0])
        except OSError as error:
            failures.append(f"{host}:{port}: {error.strerror or error}")
    raise StepError(
        "TW546", silent, got="; ".join(failures), fix="is it up, and reached from where the step runs?",
        path="settings.spark.master",
    )  # fmt: skip


def password(settings: Mapping[str, Any], what: str) -> str | None:
    """Of `settings.spark.connection`; None where there is no connection.

    Args:
        settings: of Spark.
        what: it is there.

    Raises:
        StepError: TW546 where the connection has none, TW511 where it was not given.
    """
    if (id := settings.get("connection")) is None:
        return None
    if found := connection(str(id)).password:
        return found
    raise StepError(
        "TW546", f"the connection {id!r} has no password, which is {what}", retryable=False,
        fix="give it one; where none is asked for, leave settings.spark.connection out",
        path="settings.spark.connection",
    )  # fmt: skip

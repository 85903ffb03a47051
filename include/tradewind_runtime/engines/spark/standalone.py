"""Executors on a standalone cluster: this process is the driver, and a master finds them a place on its workers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines.spark import executors
from tradewind_runtime.engines.spark.reach import password, reach

#: One master or several, of which one leads.
_MASTER = re.compile(r"spark://[^\s,/:]+:\d{1,5}(,[^\s,/:]+:\d{1,5})*")
_PENDING = 300.0


def asked(settings: Mapping[str, Any]) -> bool:
    """Whether a standalone cluster has the executors."""
    return str(settings.get("master", "")).startswith("spark://")


def options(settings: Mapping[str, Any]) -> dict[str, str]:
    """What the cluster is asked for, and how this process shows that it may.

    Raises:
        StepError: TW546 where the settings are not such, TW511 where the connection was not given.
    """
    addresses(settings)
    found = {"spark.executor.extraJavaOptions": "-Duser.timezone=UTC", **_authentication(settings)}
    if "executors" not in settings:  # all cores that are free; Spark puts small shuffles together by itself
        return found | {"spark.sql.shuffle.partitions": str(settings.get("shuffle_partitions", 200))}
    wanted = executors.wanted(settings)
    cores = wanted.max * wanted.cores
    partitions = str(settings.get("shuffle_partitions", 2 * cores))
    return found | executors.amounts(wanted) | {
        "spark.cores.max": str(cores), "spark.sql.shuffle.partitions": partitions
    }  # fmt: skip


def driver(settings: Mapping[str, Any]) -> dict[str, str]:
    """Where executors find this process: at its address on the way to the master.

    Raises:
        StepError: TW546 where no master answers.
    """
    own = reach(addresses(settings), f"no Spark master answers at {settings['master']}")
    return {"spark.driver.host": str(settings.get("driver_host", own)), "spark.driver.bindAddress": own}


def pending_timeout(settings: Mapping[str, Any]) -> float:
    """Seconds for which jobs wait while there is no executor."""
    return float(settings.get("pending_timeout", _PENDING))


def addresses(settings: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Host and port of each master.

    Raises:
        StepError: TW546 where it is no such address.
    """
    master = str(settings["master"])
    if not _MASTER.fullmatch(master):
        raise StepError(
            "TW546", "settings.spark.master is no address of a standalone master", retryable=False, got=master,
            expected="spark://HOST:PORT, or spark://HOST:PORT,HOST:PORT", path="settings.spark.master",
        )  # fmt: skip
    pairs = (one.rpartition(":") for one in master.removeprefix("spark://").split(","))
    return [(host, int(port)) for host, _, port in pairs]


def _authentication(settings: Mapping[str, Any]) -> dict[str, str]:
    """By the cluster's own secret; then the lake's key, which executors get from here, is not in the clear."""
    if (secret := password(settings, "the cluster's secret")) is None:
        return {}
    return {
        "spark.authenticate": "true", "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true", "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    }  # fmt: skip

"""The environment that the stack's parts start from: nothing of another Airflow's, and places where they may write."""

from __future__ import annotations

import os
from pathlib import Path

from tradewind.dev.ports import LOOPBACK
from tradewind_runtime import caches

_SELF = (LOOPBACK, "localhost", "::1")
_QUIET = {
    "DO_NOT_TRACK": "1", "SCARF_ANALYTICS": "false", "SCARF_NO_ANALYTICS": "true", "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false", "GIT_PYTHON_REFRESH": "quiet", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


def clean(home: Path, host: str = LOOPBACK) -> dict[str, str]:
    """An environment for a part: this process's, without `AIRFLOW…`, past proxies to the stack, telemetry off."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))}
    for name in ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE"):  # without bytecode a server takes three times as long
        kept.pop(name, None)
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in kept.get(name, "").split(",") if host]
        kept[name] = ",".join(dict.fromkeys([*hosts, *_SELF, host]))
    return kept | _QUIET | {"TRADEWIND_CACHE": str(caches.folder())} | _writable_home(home)


def _writable_home(home: Path) -> dict[str, str]:
    """Elsewhere for what libraries keep in a home (Ivy, plots, notes on who they are) where that is read-only."""
    if caches.writable(Path(os.path.expanduser("~"))):
        return {}
    own = home / "home"
    own.mkdir(parents=True, exist_ok=True)
    return {"HOME": str(own), "XDG_CACHE_HOME": str(own / ".cache"), "XDG_CONFIG_HOME": str(own / ".config")}

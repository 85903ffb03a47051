"""An MLflow server: SQLite, artefacts beside it, one worker."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tradewind.dev import ports
from tradewind.dev.servers.base import Server, answer


@dataclass(frozen=True, kw_only=True)
class MLflow(Server):
    """Tracking and registry; by default it would run ten processes."""

    name: ClassVar[str] = "mlflow"
    title: ClassVar[str] = "MLflow"
    wants: ClassVar[Mapping[str, int | None]] = {"mlflow": 5000}
    patience: ClassVar[float] = 120  # it makes its tables on the first start

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{ports.LOOPBACK}:{self.ports['mlflow']}"

    def command(self) -> list[str]:  # noqa: D102
        return [
            sys.executable, "-m", "mlflow", "server", "--host", ports.LOOPBACK, "--port", str(self.ports["mlflow"]),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:  # noqa: D102
        return {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }

    def healthy(self) -> bool:
        """Its health page, and a question to its store."""
        if answer(f"{self.address}/health") != "OK":
            return False
        return isinstance(answer(f"{self.address}/api/2.0/mlflow/registered-models/search?max_results=1"), dict)

    def connections(self) -> dict[str, str]:  # noqa: D102
        body = {"conn_type": "http", "host": ports.LOOPBACK, "port": self.ports["mlflow"], "schema": "http"}
        return {"mlflow_default": json.dumps(body)}

"""An MLflow server: SQLite, artefacts beside it, one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tradewind.dev.files import whole
from tradewind.dev.servers.base import Server, answer
from tradewind_runtime.contract.errors import Problem, TradewindError

# The registry's store makes all tables and, unlike the tracking store, no experiment with a place of its own. A client
# would also open a tracking store in the working folder and, where its path has a space, make one with %20 beside it.
_MAKE = "import sys; from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as S; S(sys.argv[1])"


@dataclass(frozen=True, kw_only=True)
class MLflow(Server):
    """Tracking and registry; by default it would run ten processes."""

    name: ClassVar[str] = "mlflow"
    title: ClassVar[str] = "MLflow"
    wants: ClassVar[Mapping[str, int | None]] = {"mlflow": 5000}
    patience: ClassVar[float] = 300  # seconds on a quiet machine, minutes on a busy one

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{self.host}:{self.ports['mlflow']}"

    @property
    def _database(self) -> Path:
        return self.folder / "mlflow.db"

    def prepare(self) -> None:
        """Make its tables aside: killed in the midst of them, the server would never start again."""
        super().prepare()
        if self._database.is_file():
            return
        with whole(self._database) as made:
            done = subprocess.run(
                [sys.executable, "-c", _MAKE, f"sqlite:///{made}"], capture_output=True, text=True, check=False,
                stdin=subprocess.DEVNULL, env={**os.environ, **self.environment()}, cwd=self.folder,
            )  # fmt: skip
            if done.returncode:
                raise TradewindError(
                    Problem(code="TW325", message="MLflow's database could not be made", got=done.stderr[-1500:])
                )

    def command(self) -> list[str]:  # noqa: D102
        return [
            sys.executable, "-m", "mlflow", "server", "--host", self.host, "--port", str(self.ports["mlflow"]),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self._database}",
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
        body = {"conn_type": "http", "host": self.host, "port": self.ports["mlflow"], "schema": "http"}
        return {"mlflow_default": json.dumps(body)}

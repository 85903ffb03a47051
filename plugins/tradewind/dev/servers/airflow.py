"""Airflow's four parts on one machine: LocalExecutor on SQLite, and only what a laptop bears."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from tradewind.dev.credentials import Credentials
from tradewind.dev.files import whole, write_private
from tradewind.dev.servers.base import Server, answer
from tradewind_runtime.connections import variable
from tradewind_runtime.contract.errors import Problem, TradewindError

USER = "admin"


@dataclass(frozen=True, kw_only=True)
class AirflowPart(Server, ABC):
    """What the four have in common: one folder, one database, one set of settings."""

    wants: ClassVar[Mapping[str, int | None]] = {"airflow": 8080}
    patience: ClassVar[float] = 300
    arguments: ClassVar[tuple[str, ...]]
    health: ClassVar[tuple[str, ...]]  # what must be healthy on Airflow's own health page

    project: Path
    profile: str
    pool: str
    credentials: Credentials
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # connections, id → JSON
    parallelism: int = 4
    spark_memory: str | None = None

    @property
    def url(self) -> str:
        """The web server's address."""
        return f"http://{self.host}:{self.ports['airflow']}"

    def command(self) -> list[str]:  # noqa: D102
        return [sys.executable, "-m", "airflow", *self.arguments]

    def healthy(self) -> bool:
        """As Airflow itself sees it."""
        page = answer(f"{self.url}/api/v2/monitor/health")
        return isinstance(page, dict) and all(page.get(part, {}).get("status") == "healthy" for part in self.health)

    def environment(self) -> dict[str, str]:  # noqa: D102
        settings = {
            f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
            for section, values in self._settings().items()
            for name, value in values.items()
        }
        connections = {variable(id): text for id, text in self.given.items()}
        return {
            "AIRFLOW_HOME": str(self.folder), "TRADEWIND_PROJECT": str(self.project),
            "TRADEWIND_PROFILE": self.profile, "TRADEWIND_HOME": str(self.folder.parent),
            **({"TRADEWIND_SPARK_MEMORY": self.spark_memory} if self.spark_memory else {}), **settings, **connections,
        }  # fmt: skip

    def _settings(self) -> dict[str, dict[str, object]]:
        bundle = {
            "name": "pipelines", "classpath": "tradewind.bundle.PipelineBundle",
            "kwargs": {"path": str(self.project), "refresh_interval": 5},
        }  # fmt: skip
        return {
            "core": {
                "executor": "tradewind.dev.executor.NappingExecutor", "parallelism": self.parallelism,
                "load_examples": False, "dags_folder": self.folder / "dags", "plugins_folder": self.folder / "plugins",
                "fernet_key": self.credentials.fernet, "execution_api_server_url": f"{self.url}/execution/",
                "simple_auth_manager_users": f"{USER}:admin",
                "simple_auth_manager_passwords_file": self.folder / "passwords.json",
                "hostname_callable": "socket.gethostname",
            },
            "database": {"sql_alchemy_conn": f"sqlite:///{self.folder / 'airflow.db'}"},
            "api": {
                "base_url": self.url, "host": self.host, "port": self.ports["airflow"], "workers": 1,
                "secret_key": self.credentials.api_secret,
            },
            "api_auth": {"jwt_secret": self.credentials.jwt},
            "dag_processor": {
                "dag_bundle_config_list": json.dumps([bundle]), "bundle_refresh_check_interval": 5,
                "parsing_processes": 1, "dag_bundle_storage_path": self.folder / "bundles",
            },
            # The scheduler naps in its executor, which knows whether anything runs.
            # A task whose supervisor was killed is found by its silence, and one of a killed scheduler's when the next
            # one looks for orphans.
            "scheduler": {
                "scheduler_idle_sleep_time": 0, "scheduler_health_check_threshold": 20,
                "task_instance_heartbeat_timeout": 60, "orphaned_tasks_check_interval": 20,
            },
            "workers": {"min_heartbeat_interval": 1},
            "logging": {"base_log_folder": self.folder / "logs"},
            "usage_data_collection": {"enabled": False},
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ApiServer(AirflowPart):
    """The web UI and both APIs; it makes the database ready for the other three."""

    name: ClassVar[str] = "api-server"
    title: ClassVar[str] = "Airflow"
    arguments: ClassVar[tuple[str, ...]] = ("api-server",)
    health: ClassVar[tuple[str, ...]] = ("metadatabase",)

    @property
    def address(self) -> str:  # noqa: D102
        return self.url

    @property
    def login(self) -> str:  # noqa: D102
        return f"{USER} / {self.credentials.airflow_password}"

    def prepare(self) -> None:
        """Who may enter; the tables and the pool of heavy steps, once a version."""
        super().prepare()
        write_private(self.folder / "passwords.json", json.dumps({USER: self.credentials.airflow_password}))
        stamp, made = self.folder / "database.json", {"airflow": version("apache-airflow-core"), "pool": self.pool}
        database = self.folder / "airflow.db"
        if not database.is_file():  # aside: half of its tables would be in the way of the next attempt
            with whole(database) as new:
                self._migrate(new)
        elif not stamp.is_file() or json.loads(stamp.read_text()) != made:
            self._migrate(database)
        write_private(stamp, json.dumps(made))

    def _migrate(self, database: Path) -> None:
        place = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"}
        done = subprocess.run(
            [sys.executable, "-m", "tradewind.dev.airflow_database", self.pool], check=False, capture_output=True,
            text=True, stdin=subprocess.DEVNULL, env={**os.environ, **self.environment(), **place}, cwd=self.folder,
        )  # fmt: skip
        if done.returncode:
            raise TradewindError(
                Problem(code="TW324", message="Airflow's database could not be made", got=done.stderr[-1500:])
            )


@dataclass(frozen=True, kw_only=True)
class Scheduler(AirflowPart):
    """Without its log server, which would listen on all interfaces: the API server reads the same files."""

    name: ClassVar[str] = "scheduler"
    title: ClassVar[str] = "Airflow scheduler"
    arguments: ClassVar[tuple[str, ...]] = ("scheduler", "--skip-serve-logs")
    health: ClassVar[tuple[str, ...]] = ("scheduler",)


@dataclass(frozen=True, kw_only=True)
class DagProcessor(AirflowPart):
    """It compiles the bundle of pipelines and reads the DAGs."""

    name: ClassVar[str] = "dag-processor"
    title: ClassVar[str] = "Airflow DAG processor"
    arguments: ClassVar[tuple[str, ...]] = ("dag-processor",)
    health: ClassVar[tuple[str, ...]] = ("dag_processor",)


@dataclass(frozen=True, kw_only=True)
class Triggerer(AirflowPart):
    """It waits for what is deferred."""

    name: ClassVar[str] = "triggerer"
    title: ClassVar[str] = "Airflow triggerer"
    arguments: ClassVar[tuple[str, ...]] = ("triggerer", "--skip-serve-logs")
    health: ClassVar[tuple[str, ...]] = ("triggerer",)


PARTS: tuple[type[AirflowPart], ...] = (ApiServer, Scheduler, DagProcessor, Triggerer)

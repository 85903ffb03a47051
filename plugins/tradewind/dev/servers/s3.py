"""An S3 server with real credentials: SeaweedFS in one process."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tradewind.dev import ports
from tradewind.dev.files import write_private
from tradewind.dev.servers.base import Server, answer
from tradewind_runtime.contract.errors import Problem, TradewindError

REGION = "us-east-1"


def _program() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise TradewindError(Problem(code="TW323", message="SeaweedFS is not installed", fix="run `make setup`"))
    return found


@dataclass(frozen=True, kw_only=True)
class S3(Server):
    """The object store; each of its four services has a port for HTTP and one for gRPC."""

    name: ClassVar[str] = "s3"
    title: ClassVar[str] = "S3 server"
    wants: ClassVar[Mapping[str, int | None]] = {"s3": 8333} | dict.fromkeys(
        ("s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc")
    )

    # It waits 15 s for its own streams to end; what it has answered is on disk by then.
    grace: ClassVar[float] = 3

    key: str = "tradewind"
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{self.host}:{self.ports['s3']}"

    @property
    def login(self) -> str:  # noqa: D102
        return f"{self.key} / {self.secret}"

    def prepare(self) -> None:
        """Write who may enter."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        identity = {
            "name": self.key,
            "credentials": [{"accessKey": self.key, "secretKey": self.secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self.folder / "identities.json", json.dumps({"identities": [identity]}))

    def command(self) -> list[str]:  # noqa: D102
        return [
            _program(), "server", f"-dir={self.folder / 'data'}", f"-ip={self.host}", f"-ip.bind={self.host}",
            f"-master.port={self.ports['master']}", f"-master.port.grpc={self.ports['master_grpc']}",
            "-master.telemetry=false", "-master.electionTimeout=1s", "-volume.preStopSeconds=0",
            "-master.volumeSizeLimitMB=128", "-volume.max=0",
            f"-volume.port={self.ports['volume']}", f"-volume.port.grpc={self.ports['volume_grpc']}",
            f"-filer.port={self.ports['filer']}", f"-filer.port.grpc={self.ports['filer_grpc']}",
            "-s3", f"-s3.config={self.folder / 'identities.json'}", f"-s3.port={self.ports['s3']}",
            f"-s3.port.grpc={self.ports['s3_grpc']}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """One volume a bucket, where it would take seven: a small disk has room for few (`INTERNAL_FAILURE` then)."""
        return {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}

    def healthy(self) -> bool:
        """A signed question is answered, and there is where to write to (seconds later after a kill)."""
        if not ports.answers(self.ports["s3"], self.host) or not self._holds_volumes():
            return False
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        store = S3Store(
            "tradewind-health", endpoint=self.address, region=REGION, access_key_id=self.key,
            secret_access_key=self.secret, virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "3s"}, retry_config={"max_retries": 0},
        )  # fmt: skip
        try:
            store.head("nothing")
        except FileNotFoundError:  # it knows us, and there is no such object
            return True
        except (BaseError, OSError):
            return False
        return True

    def _holds_volumes(self) -> bool:
        status = answer(f"http://{self.host}:{self.ports['master']}/dir/status")
        return isinstance(status, dict) and bool(status.get("Topology", {}).get("Max"))

    def tidy(self) -> None:
        """Its sockets lie in /tmp, whatever it is told, and stay there."""
        for port in (self.ports[use] for use in self.wants):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                socket.unlink(missing_ok=True)

    def connections(self) -> dict[str, str]:  # noqa: D102
        body = {
            "conn_type": "aws", "login": self.key, "password": self.secret,
            "extra": {"endpoint_url": self.address, "region_name": REGION},
        }  # fmt: skip
        return {"s3_default": json.dumps(body)}

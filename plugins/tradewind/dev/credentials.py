"""Secrets of the local stack: made once, mode 0600, before any part starts."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

from pydantic import Field

from tradewind.dev.files import write_private
from tradewind_runtime.contract.base import Frozen


def _token() -> str:
    return secrets.token_urlsafe(12)  # 96 bits, and still fits a table


class Credentials(Frozen):
    """What the parts know each other by, and a person enters with."""

    airflow_password: str = Field(default_factory=_token, repr=False)
    jwt: str = Field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    api_secret: str = Field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    fernet: str = Field(default_factory=lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(), repr=False)
    s3_key: str = "tradewind"
    s3_secret: str = Field(default_factory=_token, repr=False)
    slack_token: str = Field(default_factory=lambda: f"xoxb-{_token()}", repr=False)


def credentials(run: Path) -> Credentials:
    """The secrets of a stack; made where there are none, and completed where one is new."""
    path = run / "secrets.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    made = Credentials.model_validate(kept)
    if kept != made.model_dump():
        write_private(path, made.model_dump_json())
    return made

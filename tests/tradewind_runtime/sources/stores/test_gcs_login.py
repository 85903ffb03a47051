"""Google's own server asks for a token, which a service account's key has signed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from tests.servers.google_storage import key_file, new_key
from tests.servers.loopback import JsonHandler, served
from tests.tradewind_runtime.sources.project import objects
from tests.tradewind_runtime.steprun import end_of

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError

_LISTED = """<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>in/a.csv</Key>
<Size>4</Size><LastModified>2013-01-01T00:00:00Z</LastModified><ETag>"e1"</ETag></Contents></ListBucketResult>"""


class _Bucket(JsonHandler):
    """Lists one object to whoever has the key."""

    key: RSAPublicKey

    def do_GET(self) -> None:
        told = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.say(*((200, _LISTED) if self._known(told) else (401, "who are you?")))

    def _known(self, token: str) -> bool:
        head, body, signature = [*token.split("."), "", "", ""][:3]
        try:
            self.key.verify(_bytes(signature), f"{head}.{body}".encode(), PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return bool(json.loads(_bytes(body))["iss"] == "reader@tests.iam.gserviceaccount.com")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_key_of_the_connection_is_what_opens_a_bucket(lake_uri: str, tmp_path: Any) -> None:
    ours, others = new_key(), new_key()
    own, other = key_file(ours), key_file(others)
    (tmp_path / "key.json").write_text(json.dumps(own))
    source = objects("gs://weather/in/*.csv", connection="google_cloud_default")

    def end(**extra: Any) -> dict[str, str]:
        extra["endpoint_url"] = address
        return end_of(
            lake_uri, source, connection=Connection("google_cloud_default", "google_cloud_platform", extra=extra)
        )

    with served(_Bucket, key=ours.public_key()) as address:
        ways: list[dict[str, Any]] = [
            {"keyfile_dict": own},
            {"keyfile_dict": json.dumps(own)},
            {"key_path": str(tmp_path / "key.json")},
            {"extra__google_cloud_platform__keyfile_dict": own},
        ]
        for way in ways:
            assert end(**way) == {"in/a.csv": "e1"}, sorted(way)
        for way in ({"keyfile_dict": other}, {"is_anonymous": True}):
            with pytest.raises(StepError, match="TW525: the store cannot be listed") as told:
                end(**way)
            assert "PRIVATE" not in str(told.value)
        with pytest.raises(StepError, match="TW525: the connection does not open gs://weather") as told:
            end(keyfile_dict={"private_key": "nonsense-nonsense"})
        assert "nonsense" not in str(told.value)

"""Java's list of trusted authorities without the dates when each was put there: `undate.py KEYSTORE`; in a build."""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

MAGIC, VERSION, CERTIFICATE = 0xFEEDFEED, 2, 2
SALT = "changeit".encode("utf-16-be") + b"Mighty Aphrodite"  # as the format has it; the password is Debian's


def undated(store: bytes) -> bytes:
    """The same store, all of it from 1970; one in another format, or with more than certificates, as it is."""
    magic, version, count = struct.unpack_from(">III", store)
    if (magic, version) != (MAGIC, VERSION):
        return store
    body, at = bytearray(store[:-20]), 12
    for _ in range(count):
        kind, alias = struct.unpack_from(">IH", body, at)
        if kind != CERTIFICATE:
            return store
        at += 6 + alias
        body[at : at + 8] = bytes(8)
        (type_,) = struct.unpack_from(">H", body, at + 8)
        (length,) = struct.unpack_from(">I", body, at + 10 + type_)
        at += 14 + type_ + length
    return bytes(body) + hashlib.sha1(SALT + body, usedforsecurity=False).digest()


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(undated(path.read_bytes()))

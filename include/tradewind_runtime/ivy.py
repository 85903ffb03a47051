"""Jars by the Ivy that pyspark carries, with no Maven: what a list names, checked, complete or not there at all.

A build of an image runs this file by itself (`ivy.py LIST SUMS FOLDER`), so it knows nothing of Tradewind.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tenacity import Retrying, stop_after_attempt, wait_exponential


class NotFetchedError(Exception):
    """Jars that did not come, or are not those that are expected."""


def spark_jars() -> Path | None:
    """Spark's own jars; pyspark is looked up and not imported, which takes a second."""
    spec = importlib.util.find_spec("pyspark")
    return Path(spec.origin).parent / "jars" if spec and spec.origin else None


def command(java: Path, scratch: Path, *, bare: bool) -> list[str]:
    """How Ivy is started, with the authorities that this machine trusts.

    Args:
        java: what to start.
        scratch: a folder for the time that it runs.
        bare: whether this Java knows only the usual authorities, and not those that a machine was told of.
    """
    ours = spark_jars()
    jars = sorted(ours.glob("ivy-*.jar")) if ours else []
    if not jars:
        raise NotFetchedError("pyspark is not installed")
    return [str(java), *(_trust(scratch) if bare or os.environ.get("SSL_CERT_FILE") else ()), "-jar", str(jars[-1])]


def _trust(scratch: Path) -> list[str]:
    """Authorities that a machine was told of, as a company's."""
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is None:
        return []
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
    from cryptography.x509 import load_pem_x509_certificates

    found = load_pem_x509_certificates(Path(bundle).read_bytes())
    named = [pkcs12.PKCS12Certificate(one, str(number).encode()) for number, one in enumerate(found)]
    store, password = scratch / "authorities.p12", "changeit"  # nothing in it is secret
    store.write_bytes(pkcs12.serialize_java_truststore(named, BestAvailableEncryption(password.encode())))
    return [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={password}"]


def run(words: Sequence[str], target: Path, cache: Path) -> str:
    """Ivy, with its options; what it retrieves lies in `target`. What it says, for it answers 0 for what it misses."""
    pattern = f"{target}/[artifact]-[revision](-[classifier]).[ext]"
    options = ["-cache", str(cache), "-confs", "default", "-types", "jar", "bundle", "-retrieve", pattern]
    done = subprocess.run(
        [*words, *options], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip
    if done.returncode:
        raise NotFetchedError(done.stdout + done.stderr)
    return done.stdout + done.stderr


def fetched(target: Path, download: Callable[[Path, Path], None]) -> Path:
    """A folder that is complete or not there at all; three attempts, and what has come is kept between them.

    Args:
        target: the folder.
        download: fills a folder, with Ivy's cache in another one.

    Raises:
        NotFetchedError: by `download`.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = target.parent / f"{target.name}.ivy"
    for attempt in Retrying(stop=stop_after_attempt(3), wait=wait_exponential(2, max=20), reraise=True):
        with attempt, tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-") as made:
            download(Path(made) / "jars", kept)
            try:
                (Path(made) / "jars").rename(target)
            except OSError:  # another process was first
                if not target.is_dir():
                    raise
    shutil.rmtree(kept, ignore_errors=True)
    return target


def listed(java: Path, listing: Path, sums: Path, target: Path, cache: Path, *, bare: bool) -> None:
    """What an `ivy.xml` names, each file by its SHA-256, and no other.

    Raises:
        NotFetchedError: where they are not those, with what Ivy said.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        said = run([*command(java, Path(scratch), bare=bare), "-ivy", str(listing)], target, cache)
    wanted = {name: digest for digest, name in (line.split() for line in sums.read_text().splitlines())}
    got = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in target.iterdir()}
    if got != wanted:
        wrong = sorted(dict(wanted.items() ^ got.items()))
        raise NotFetchedError(f"missing or not as expected: {', '.join(wrong)}\n{said[-600:]}")


def main() -> None:
    """`ivy.py LIST SUMS FOLDER`: into a folder that may hold others already."""
    listing, sums, folder = map(Path, sys.argv[1:])
    java = shutil.which("java")
    assert java, "there is no Java"
    with tempfile.TemporaryDirectory() as made:
        listed(Path(java), listing, sums, Path(made) / "jars", Path(made) / "ivy", bare=True)
        shutil.copytree(Path(made) / "jars", folder, dirs_exist_ok=True)


if __name__ == "__main__":
    main()

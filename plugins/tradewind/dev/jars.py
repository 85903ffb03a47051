"""Kafka's jars, resolved once by the Ivy that pyspark carries; later runs need no network."""

from __future__ import annotations

import importlib.util
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

from tenacity import Retrying, stop_after_attempt, wait_exponential

from tradewind_runtime import caches, java
from tradewind_runtime.contract.errors import Problem, TradewindError

VERSION = "4.1.0"


def folder() -> Path:
    """Where the jars are, or will be."""
    return caches.folder() / f"kafka-{VERSION}"


def _ivy() -> Path:
    """Ivy's jar; pyspark is looked up and not imported, which takes a second."""
    spec = importlib.util.find_spec("pyspark")
    jars = sorted((Path(spec.origin).parent / "jars").glob("ivy-*.jar")) if spec and spec.origin else []
    if not jars:
        raise TradewindError(Problem(code="TW320", message="pyspark is not installed", fix="run `make setup`"))
    return jars[-1]


def ivy(runtime: java.Java, scratch: Path) -> list[str]:
    """How Ivy is started, with the authorities that this machine trusts."""
    return [str(runtime.executable), *_trust(runtime, scratch), "-jar", str(_ivy())]


def _trust(runtime: java.Java, scratch: Path) -> list[str]:
    """The packaged runtime knows the usual authorities, and not those that a machine was told of, as a company's."""
    bundle = ssl.get_default_verify_paths().cafile
    if runtime.origin != java.PACKAGED or bundle is None:
        return []
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
    from cryptography.x509 import load_pem_x509_certificates

    found = load_pem_x509_certificates(Path(bundle).read_bytes())
    named = [pkcs12.PKCS12Certificate(one, str(number).encode()) for number, one in enumerate(found)]
    store, password = scratch / "authorities.p12", "changeit"  # nothing in it is secret
    store.write_bytes(pkcs12.serialize_java_truststore(named, BestAvailableEncryption(password.encode())))
    return [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={password}"]


def _download(target: Path, cache: Path) -> None:
    command = [
        *ivy(java.find(), target.parent), "-cache", str(cache),
        "-dependency", "org.apache.kafka", "kafka_2.13", VERSION, "-confs", "default", "-types", "jar", "bundle",
        "-retrieve", f"{target}/[artifact]-[revision](-[classifier]).[ext]",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    # Ivy answers 0 for what it could not find: the broker's own jar is what counts.
    if done.returncode or not list(target.glob(f"kafka_2.13-{VERSION}.jar")):
        raise TradewindError(
            Problem(code="TW321", message=f"Kafka {VERSION} could not be fetched",
                    got=(done.stdout + done.stderr)[-600:],
                    fix="check the network and run `make setup` again; what has come is kept")
        )  # fmt: skip


def resolve() -> Path:
    """The folder of Kafka's jars, fetched where it is missing; complete or not there at all.

    Raises:
        TradewindError: TW320 without pyspark, TW321 where three attempts did not bring them.
    """
    target = folder()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in Retrying(stop=stop_after_attempt(3), wait=wait_exponential(2, max=20), reraise=True):
        with attempt, tempfile.TemporaryDirectory(dir=target.parent, prefix="kafka-") as made:
            _download(Path(made) / "jars", target.parent / "ivy")
            try:
                (Path(made) / "jars").rename(target)
            except OSError:  # another process was first
                if not target.is_dir():
                    raise
    shutil.rmtree(target.parent / "ivy", ignore_errors=True)
    return target


if __name__ == "__main__":
    print(resolve())

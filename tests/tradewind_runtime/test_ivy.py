"""Fetching by Ivy on the packaged Java, from a server whose authority only this machine knows."""

from __future__ import annotations

import functools
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.authority import Authority

from tradewind_runtime import ivy, java

IVY = """<ivysettings><settings defaultResolver="r"/>
<resolvers><ibiblio name="r" m2compatible="true" root="{}"/></resolvers></ivysettings>"""
POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>a</groupId><artifactId>b</artifactId><version>1</version></project>"""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A repository of one jar, by HTTPS."""
    (tmp_path / "repo/a/b/1").mkdir(parents=True)
    (tmp_path / "repo/a/b/1/b-1.pom").write_text(POM)
    (tmp_path / "repo/a/b/1/b-1.jar").write_bytes(b"jar")
    authority = Authority(tmp_path)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "repo"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("own", "own", hosts=["127.0.0.1"]))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}/", authority.certificate
    server.shutdown()
    server.server_close()


@pytest.mark.server
@pytest.mark.parametrize("known", [True, False])
def test_the_packaged_java_trusts_whom_the_machine_trusts(
    repository: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    root, pem = repository
    with monkeypatch.context() as bare:
        bare.setenv("PATH", "/nonexistent")
        bare.delenv("JAVA_HOME", raising=False)
        runtime = java.find()
    assert runtime.origin == java.PACKAGED
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    (tmp_path / "settings.xml").write_text(IVY.format(root))
    started = ivy.command(runtime.executable, tmp_path, bare=True)
    command = [*started, "-settings", str(tmp_path / "settings.xml"), "-cache", str(tmp_path / "c"), "-dependency",
               "a", "b", "1", "-retrieve", f"{tmp_path}/got/[artifact].[ext]"]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tmp_path / "got/b.jar").is_file() is known, said.stdout + said.stderr

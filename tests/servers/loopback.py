"""A server on the loopback that answers JSON, and a kubeconfig that takes it for a cluster."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class JsonHandler(BaseHTTPRequestHandler):
    """What is asked and answered, as objects."""

    def body(self) -> Any:
        """Of the request."""
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def say(self, code: int, body: Any) -> None:
        """Answer, by text where it is text."""
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing is written to the tests' own output."""


@contextmanager
def served(
    handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None, **attributes: Any
) -> Iterator[str]:
    """The address of a server on a free port, whose handlers have these attributes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), attributes))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()  # seconds until it sees its end
    yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def write_kubeconfig(folder: Path, address: str) -> None:
    """`kubeconfig` in the folder."""
    (folder / "kubeconfig").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "loopback", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "loopback", "cluster": {"server": address}}],
        "contexts": [{"name": "loopback", "context": {"cluster": "loopback", "user": "u"}}],
    }))  # fmt: skip

"""One file of a web server: by its ETag or its time, with the login of a connection that is the server's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from pydantic import ValidationError
from tests.servers.loopback import JsonHandler, served
from tests.tradewind_runtime.sources.project import objects
from tests.tradewind_runtime.steprun import end_of, ingest, rows

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source

WORD = "a-password: with %"


class _Files(JsonHandler):
    """Files, each with the headers that tell its version."""

    files: dict[str, tuple[bytes, dict[str, str]]]

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        known = self.headers.get("Authorization") == "Basic " + b64encode(f"reader:{WORD}".encode()).decode()
        code = 401 if self.path.startswith("/own/") and not known else 200 if self.path in self.files else 404
        content, told = self.files.get(self.path, (b"", {})) if code == 200 else (b"", {})
        self.send_response(code)
        for name, value in (told | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content if body is None else body)


class _Site:
    def __init__(self, address: str, files: dict[str, Any], lake: str) -> None:
        self.address, self.files, self.lake, self.runs = address, files, lake, 0

    def end(self, of: Source, conn: Connection | None = None) -> dict[str, str]:
        return end_of(self.lake, of, connection=conn)

    def taken_in(self, of: Source, end: dict[str, str] | None = None) -> float:
        self.runs += 1
        return ingest(self.lake, of, self.end(of) if end is None else end, run=f"r{self.runs}").metrics["rows"]


@pytest.fixture
def site(lake_uri: str) -> Iterator[_Site]:
    files: dict[str, Any] = {}
    kind: type[BaseHTTPRequestHandler] = _Files
    with served(kind, files=files) as address:
        yield _Site(address, files, lake_uri)


@pytest.mark.parametrize(
    "versions",
    [
        ({"ETag": '"one"'}, {"ETag": '"two"'}),
        ({"Last-Modified": "Tue, 01 Jan 2013 00:00:00 GMT"}, {"Last-Modified": "Tue, 01 Jan 2013 00:00:01 GMT"}),
    ],
)
def test_a_file_is_read_once_for_each_version(site: _Site, versions: tuple[dict[str, str], ...]) -> None:
    source = objects(f"{site.address}/data/a%20b.csv", columns={"n": "long"})
    assert site.end(source) == {}
    site.files["/data/a%20b.csv"] = (b"n\n1\n2\n", versions[0])
    assert [site.taken_in(source), site.taken_in(source)] == [2, 0]
    pinned = site.end(source)
    site.files["/data/a%20b.csv"] = (b"n\n3\n", versions[1])
    assert site.taken_in(source) == 1
    assert [(row["n"], row["_source"]) for row in rows(site.lake)] == [(3, "data/a b.csv")]
    assert site.taken_in(source) == 0
    with pytest.raises(StepError, match=r"TW526: data/a b.csv changed"):
        site.taken_in(source, pinned)
    del site.files["/data/a%20b.csv"]
    with pytest.raises(StepError, match=r"TW526: data/a b.csv vanished"):
        site.taken_in(source, pinned)


def test_a_server_that_tells_no_version_is_refused(site: _Site) -> None:
    site.files["/a.csv"] = (b"n\n1\n", {})
    with pytest.raises(StepError, match=r"TW525: a\.csv has neither an ETag nor a time"):
        site.end(objects(f"{site.address}/a.csv"))


def test_a_login_is_the_connections_and_goes_to_its_host_alone(site: _Site) -> None:
    site.files["/own/a.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    source = objects(f"{site.address}/own/a.csv", connection="files")
    host, port = site.address.removeprefix("http://").split(":")
    given = Connection("files", "http", host=host, port=int(port), login="reader", password=WORD)
    assert list(site.end(source, given)) == ["own/a.csv"]
    basic = "Basic " + b64encode(f"reader:{WORD}".encode()).decode()
    own = Connection("files", "http", host=host, port=int(port), extra={"headers": {"Authorization": basic}})
    assert list(site.end(source, own)) == ["own/a.csv"]
    at = {"host": host, "port": int(port)}
    wrong = Connection("files", "http", login="reader", password="wrong-password", **at)
    other = Connection("files", "http", host="elsewhere.example", login="reader", password=WORD)
    door = Connection("files", "http", host=host, port=int(port) + 1, login="reader", password=WORD)
    safe = Connection("files", "https", login="reader", password=WORD, **at)
    key = Connection("files", "http", extra={"headers": {"X-Api-Key": "a-password"}}, **at)
    for conn, says in (
        (wrong, "cannot be listed"),
        (None, "cannot be listed"),
        (other, "one of http://elsewhere.example:80"),
        (door, f"one of http://{host}:{int(port) + 1}"),
        (safe, f"one of https://{host}"),
        (key, "only Authorization stays with one host, and it has x-api-key"),
    ):
        with pytest.raises(StepError, match=f"TW525: .*{says}") as told:
            site.end(source, conn)
        assert "password" not in str(told.value)


@pytest.mark.parametrize(
    "uri",
    ["https://h/*.csv", "https://h/a.csv?token=x", "https://me:word@h/a.csv", "ftp://h/a.csv", "https://h/[ab].csv"],
)
def test_what_names_no_one_file_is_wrong_in_the_yaml(uri: str) -> None:
    with pytest.raises(ValidationError, match=r"names one file|no store is known by ftp://"):
        objects(uri)

"""One file of a web server: by its ETag or its time, with the login of a connection that is the server's."""

from __future__ import annotations

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pydantic import ValidationError
from tests.servers.authority import Authority
from tests.servers.loopback import JsonHandler, served
from tests.tradewind_runtime.sources.project import objects
from tests.tradewind_runtime.steprun import end_of, ingest, rows, wait_for

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.objects import Wanted, _Group, chunks
from tradewind_runtime.sources.stores import Place, pinned
from tradewind_runtime.sources.stores.http import File, Site, private
from tradewind_runtime.sources.stores.pinned import Pinned, fetched

WORD = "a-password: with %"


class _Files(JsonHandler):
    """Files, each with the headers that tell its version."""

    files: dict[str, tuple[bytes, dict[str, str]]]
    lengths: bool = True  # whether a GET says how many bytes come
    moved: dict[str, str]
    asked: list[tuple[str, str | None]]

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.path in self.moved:
            self.send_response(302)
            self.send_header("Location", self.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        known = self.headers.get("Authorization") == "Basic " + b64encode(f"reader:{WORD}".encode()).decode()
        code = 401 if self.path.startswith("/own/") and not known else 200 if self.path in self.files else 404
        content, told = self.files.get(self.path, (b"", {})) if code == 200 else (b"", {})
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(content))} | told).items():
            if value and (body is not None or self.lengths or name != "Content-Length"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content if body is None else body)


class _Site:
    def __init__(self, lake: str) -> None:
        self.address, self.lake, self.runs = "", lake, 0
        self.files: dict[str, Any] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []

    @contextmanager
    def open(self, tls: ssl.SSLContext | None = None, *, lengths: bool = True) -> Iterator[_Site]:
        kind: type[BaseHTTPRequestHandler] = type("Files", (_Files,), {"lengths": lengths})
        with served(kind, tls, files=self.files, moved=self.moved, asked=self.asked) as self.address:
            yield self

    def end(self, of: Source, conn: Connection | None = None) -> dict[str, str]:
        return end_of(self.lake, of, connection=conn)

    def taken_in(self, of: Source, end: dict[str, str] | None = None) -> float:
        self.runs += 1
        return ingest(self.lake, of, self.end(of) if end is None else end, run=f"r{self.runs}").metrics["rows"]


@pytest.fixture
def site(lake_uri: str) -> Iterator[_Site]:
    with _Site(lake_uri).open() as found:
        yield found


@pytest.fixture
def elsewhere(lake_uri: str) -> Iterator[_Site]:
    with _Site(lake_uri).open() as found:
        found.files["/b.csv"] = (b"n\n1\n2\n", {"ETag": '"one"'})
        yield found


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


def test_a_length_that_only_head_tells_is_the_files(lake_uri: str) -> None:
    with _Site(lake_uri).open(lengths=False) as site:
        site.files["/a.csv"] = (b"n\n1\n", {"Last-Modified": "Tue, 01 Jan 2013 00:00:00 GMT"})
        source = objects(f"{site.address}/a.csv")
        assert [site.taken_in(source), site.taken_in(source)] == [1, 0]


def test_what_is_cut_off_where_only_head_tells_a_length_is_tried_again(lake_uri: str) -> None:
    told = {"Last-Modified": "Tue, 01 Jan 2013 00:00:00 GMT", "Content-Length": "100"}
    with _Site(lake_uri).open(lengths=False) as site:
        site.files["/a.csv"] = (b"n\n1\n", told)
        with pytest.raises(StepError, match=r"TW525: a\.csv cannot be read: 4 of 100 bytes came") as caught:
            site.taken_in(objects(f"{site.address}/a.csv", columns={"n": "long"}))
        assert caught.value.retryable
        assert rows(site.lake) == []


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
    for conn, says in (
        (wrong, "cannot be listed"),
        (None, "cannot be listed"),
        (other, "one of http://elsewhere.example:80"),
        (door, f"one of http://{host}:{int(port) + 1}"),
        (safe, f"one of https://{host}"),
    ):
        with pytest.raises(StepError, match=f"TW525: .*{says}") as told:
            site.end(source, conn)
        assert "password" not in str(told.value)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Authorization": "Bearer a-pass\nword"}, "its header 'authorization' cannot be sent"),
        ({"Authorization": "Bearer a-passwörd"}, "its header 'authorization' cannot be sent"),
        ({"Authorization: a-password": "x"}, "the name of one of its headers cannot be sent"),
        ("a-password", "its extra `headers` is no mapping"),
        ({"Content-Length": "a-password"}, "the request cannot be sent: LocalProtocolError"),
    ],
)
def test_a_header_that_cannot_be_sent_is_told_without_its_value(site: _Site, headers: Any, says: str) -> None:
    host, port = site.address.removeprefix("http://").split(":")
    given = Connection("files", "http", host=host, port=int(port), extra={"headers": headers})
    with pytest.raises(StepError, match=f"TW525: .*{says}") as told:
        site.end(objects(f"{site.address}/a.csv", connection="files"), given)
    assert "a-pass" not in str(told.value)
    assert not told.value.retryable
    assert site.asked == []


def test_the_space_around_a_header_is_no_part_of_it(site: _Site) -> None:
    site.files["/a.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    host, port = site.address.removeprefix("http://").split(":")
    given = Connection("files", "http", host=host, port=int(port), extra={"headers": {" Authorization": "a-word\n"}})
    assert site.end(objects(f"{site.address}/a.csv", connection="files"), given) == {"a.csv": "one"}
    assert site.asked == [("/a.csv", "a-word")]


def test_an_address_of_no_server_is_told(site: _Site) -> None:
    for host in ("a..b", "xn--", "h:port"):
        with pytest.raises(StepError, match="TW525: the connection does not open") as told:
            site.end(objects(f"http://{host}/a.csv"))
        assert not told.value.retryable


def test_the_size_of_what_has_no_length_is_counted(site: _Site, tmp_path: Path) -> None:
    site.files["/a.csv"] = (b"n\n1\n", {"ETag": '"one"', "Content-Length": ""})
    place = Place.of(f"{site.address}/a.csv", Access(lake=Lake(site.lake)))
    (file,) = fetched(place, [("a.csv", "one")], tmp_path)
    assert file.size == 4
    assert file.fetch(4) == 4
    assert file.fetch(3) is None


@pytest.fixture
def three(site: _Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Chunk, None, None]:
    """Chunks of three large files, one each."""
    monkeypatch.setattr(pinned, "SMALL", 1)
    for name in "abc":
        site.files[f"/{name}.csv"] = (f"n\n{name}\n".encode(), {"ETag": '"one"'})
    access = Access(lake=Lake(site.lake), scratch=tmp_path, chunk_rows=0)
    wanted = [Wanted(f"{name}.csv", "one", name, f"{name}@one", None, None) for name in "abc"]
    return chunks(objects(f"{site.address}/a.csv"), access, wanted, None)


def test_a_large_one_is_brought_while_another_is_read(three: Generator[Chunk, None, None], tmp_path: Path) -> None:
    """One, for there may be room for few."""
    first = next(three)
    wait_for(lambda: (tmp_path / "1").exists() and (tmp_path / "1").read_text() == "n\nb\n", 30)
    assert not (tmp_path / "2").exists()
    for chunk, name in zip(chain([first], three), "abc", strict=True):
        assert [row["n"] for batch in chunk.rows for row in batch.to_pylist()] == [name]


def test_what_is_on_its_way_is_not_waited_for_once_all_ends(
    three: Generator[Chunk, None, None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, told, going = Pinned.fetch, [], Event()

    def slow(self: Pinned, most: int | None = None, unless: Event | None = None) -> int | None:
        if self.key == "b.csv" and most is None and unless is not None:
            going.set()
            told.append(unless.wait(30))
        return fetch(self, most, unless)

    monkeypatch.setattr(Pinned, "fetch", slow)
    with closing(three):
        next(three)
        assert going.wait(30)
    assert told == [True]


def test_nor_is_any_that_is_to_come_looked_at(site: _Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        site.files[f"/{number}.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    wanted = [Wanted(f"{number}.csv", "one", f"{number}", f"{number}@one", None, None) for number in range(300)]
    wanted[0] = replace(wanted[0], counted=0)  # so it is a chunk, and all others one
    add, added = _Group.add, []

    def slowly(self: _Group, one: Wanted, file: Pinned) -> None:
        added.append(one.key)
        time.sleep(0.01)
        add(self, one, file)

    monkeypatch.setattr(_Group, "add", slowly)
    coming = chunks(objects(f"{site.address}/0.csv"), Access(lake=Lake(site.lake), scratch=tmp_path), wanted, None)
    next(coming)
    wait_for(lambda: len(added) > 5, 30)
    coming.close()
    assert len(added) < 200


def test_what_is_not_wanted_any_more_is_not_waited_for(site: _Site, tmp_path: Path) -> None:
    site.files["/a.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    place = Place.of(f"{site.address}/a.csv", Access(lake=Lake(site.lake)))
    ended = Event()
    ended.set()
    assert Pinned(place, "a.csv", "one", tmp_path / "a").fetch(unless=ended) is None


def test_no_further_one_is_asked_for(site: _Site, tmp_path: Path) -> None:
    for number in range(100):
        site.files[f"/{number}.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    place = Place.of(f"{site.address}/0.csv", Access(lake=Lake(site.lake)))
    ended, asked = Event(), []
    pins = ((asked.append(number) or f"{number}.csv", "one") for number in range(100))
    files = fetched(place, pins, tmp_path, ended)
    next(files)
    ended.set()
    assert list(files) == []
    assert len(asked) == pinned.AHEAD


def test_what_is_read_is_closed(site: _Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is too large to be read to its end."""
    site.files["/a.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    given: list[File] = []
    get = Site.get
    monkeypatch.setattr(Site, "get", lambda site, path: given.append(get(site, path)) or given[-1])
    place = Place.of(f"{site.address}/a.csv", Access(lake=Lake(site.lake)))
    (file,) = fetched(place, [("a.csv", "one")], tmp_path)
    assert file.fetch(3) is None
    assert [found.response.is_closed for found in given] == [True, True]


def test_a_redirect_is_followed_and_told_no_secret(site: _Site, elsewhere: _Site) -> None:
    site.moved |= {"/a.csv": "/c.csv", "/c.csv": f"{elsewhere.address}/b.csv"}
    host, port = site.address.removeprefix("http://").split(":")
    given = Connection("files", "http", host=host, port=int(port), extra={"headers": {"Authorization": "a-password"}})
    source = objects(f"{site.address}/a.csv", columns={"n": "long"}, connection="files")
    assert site.end(source, given) == {"a.csv": "one"}
    assert site.asked == [("/a.csv", "a-password"), ("/c.csv", "a-password")]
    assert elsewhere.asked == [("/b.csv", None)]
    assert site.taken_in(objects(f"{site.address}/a.csv", columns={"n": "long"})) == 2


def test_a_redirect_round_and_round_ends(site: _Site) -> None:
    site.moved["/a.csv"] = "/a.csv"
    with pytest.raises(StepError, match="TW533: 10 redirects lead to more of them"):
        site.end(objects(f"{site.address}/a.csv"))


@pytest.mark.parametrize("to", ["http://127.0.0.1", "http://[::1]", "http://10.0.0.7", "http://169.254.169.254"])
def test_a_redirect_from_a_public_address_does_not_lead_into_a_private_network(
    site: _Site, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """The site stands for one that is public: it has a name that is taken for one."""
    resolved = socket.getaddrinfo
    monkeypatch.setattr(
        "tradewind_runtime.sources.stores.http.addresses",
        lambda host: ["93.184.215.14"] if host == "localhost" else [one[4][0] for one in resolved(host, None)],
    )
    site.moved["/a.csv"] = f"{to}/b.csv"
    with pytest.raises(StepError, match="TW533: a redirect leads into a private network") as told:
        site.end(objects(site.address.replace("127.0.0.1", "localhost") + "/a.csv"))
    assert told.value.problems[0].got == f"{to}/b.csv"
    assert not told.value.retryable


@pytest.mark.parametrize(
    "to",
    [
        f"http://{'x' * 70}.com/", "http://a..b/", "http://xn--/", "http://[::1", "http://h:port/", "file:///etc/passwd",
        "ftp://h/a.csv", "mailto:a",
    ],
)  # fmt: skip
def test_a_redirect_to_no_web_server_is_told_at_once(site: _Site, to: str) -> None:
    site.moved["/a.csv"] = to
    with pytest.raises(StepError, match="TW533: its redirect leads to no address of a web server") as told:
        site.end(objects(f"{site.address}/a.csv"))
    assert not told.value.retryable
    assert [path for path, _ in site.asked] == ["/a.csv"]


def test_names_are_looked_up_on_a_redirect_alone_and_as_they_are_connected_to(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"localhost": ["93.184.215.14"], "xn--fa-hia.de": ["127.0.0.1"], "fass.de": ["93.184.215.14"]}
    looked_up: list[str] = []

    def addresses(host: str) -> list[str]:
        looked_up.append(host)
        return known.get(host, [])

    monkeypatch.setattr("tradewind_runtime.sources.stores.http.addresses", addresses)
    site.files["/a.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    address = site.address.replace("127.0.0.1", "localhost")
    assert site.taken_in(objects(f"{address}/a.csv", columns={"n": "long"})) == 1
    assert looked_up == []
    site.moved["/b.csv"] = "http://xn--fa-hia.de/b.csv"
    with pytest.raises(StepError, match="TW533: a redirect leads into a private network"):
        site.end(objects(f"{address}/b.csv"))
    assert looked_up == ["xn--fa-hia.de", "localhost"]


@pytest.mark.parametrize(
    ("address", "within"),
    [
        ("127.0.0.1", True), ("224.0.0.1", True), ("100.64.0.1", True), ("8.8.8.8", False),
        ("::1", True), ("fd00::1", True), ("fec0::1", True), ("ff02::1", True), ("2606:4700::1", False),
        ("64:ff9b::7f00:1", True), ("64:ff9b:1::808:808", True), ("64:ff9b::808:808", False),
        ("2002:7f00:1::", True), ("2002:808:808::", False), ("::ffff:10.0.0.1", True), ("::ffff:8.8.8.8", False),
        ("::7f00:1", True), ("::ffff:0:7f00:1", True),
    ],
)  # fmt: skip
def test_what_is_private(address: str, within: bool) -> None:
    assert private(address) is within


def test_a_redirect_does_not_lead_from_https_to_http(
    lake_uri: str, elsewhere: _Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("site", "site", hosts=["127.0.0.1"]))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with _Site(lake_uri).open(context) as site:
        site.files["/b.csv"] = elsewhere.files["/b.csv"]
        site.moved |= {"/a.csv": f"{elsewhere.address}/b.csv?token=word", "/c.csv": "/b.csv"}
        assert site.end(objects(f"{site.address}/c.csv")) == {"c.csv": "one"}
        with pytest.raises(StepError, match="TW533: a redirect leads from https to http") as told:
            site.end(objects(f"{site.address}/a.csv"))
        assert "word" not in str(told.value)
    assert elsewhere.asked == []


def test_a_server_that_is_busy_is_asked_again_and_what_is_cut_off_is_tried_again_later(site: _Site) -> None:
    answers = iter([503, 0, 503])
    kind = _Files.do_GET

    site.files["/a.csv"] = (b"n\n1\n", {"ETag": '"one"'})
    source = objects(f"{site.address}/a.csv", columns={"n": "long"})
    end = site.end(source)

    def busy(self: _Files) -> None:
        if code := next(answers, None):
            self.say(code, "later")
        elif code is None:
            kind(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Files, "do_GET", busy)
        assert site.taken_in(source, end) == 1

    def cut(self: _Files) -> None:
        self.send_response(200)
        self.send_header("ETag", '"two"')
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"n\n1\n")

    site.files["/a.csv"] = (b"n\n2\n", {"ETag": '"two"'})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Files, "do_GET", cut)
        with pytest.raises(StepError, match=r"TW525: a\.csv cannot be read") as told:
            site.taken_in(source)
    assert told.value.retryable
    assert site.taken_in(source) == 1


@pytest.mark.parametrize(
    "uri",
    ["https://h/*.csv", "https://h/a.csv?token=x", "https://me:word@h/a.csv", "ftp://h/a.csv", "https://h/[ab].csv"],
)
def test_what_names_no_one_file_is_wrong_in_the_yaml(uri: str) -> None:
    with pytest.raises(ValidationError, match=r"names one file|no store is known by ftp://"):
        objects(uri)


def test_an_address_whose_host_is_none_is_wrong_in_the_yaml() -> None:
    with pytest.raises(ValidationError, match="Invalid IPv6 URL"):
        objects("s3://[bucket/a.csv")


def test_a_time_after_all_times_is_none(site: _Site) -> None:
    site.files["/a.csv"] = (b"n\n1\n", {"Last-Modified": "Fri, 31 Dec 9999 23:00:00 -1200"})
    with pytest.raises(StepError, match=r"TW525: a\.csv has neither an ETag nor a time"):
        site.end(objects(f"{site.address}/a.csv"))

"""An API that is busy, broken, elsewhere or suspicious: waited for, refused or told, and never told a secret of."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import shop as shops
from tests.servers.authority import Authority
from tests.servers.shop import Script, Shop, cuts, says

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources import http_client
from tradewind_runtime.sources.http_client import opened
from tradewind_runtime.sources.http_login import Login


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(http_client, "BACKOFF", lambda _state: 0.01)
    with shops.opened() as found:
        found.rows = [{"id": 1}]
        yield found


def asked(shop: Shop, path: str = "/whole", **connection: Any) -> Any:
    """What the API answers."""
    with opened(Connection.parse("shop", shop.connection(**connection)), 0) as api:
        answer = api.get(api.address(path, {"status": "done"}))
    return None if answer.body is None else json.loads(answer.body)


def refused(shop: Shop, code: str, why: str, path: str = "/whole", **connection: Any) -> StepError:
    with pytest.raises(StepError, match=rf"{code}(.|\n)*{why}") as caught:
        asked(shop, path, **connection)
    return caught.value


def moment(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    "script",
    [
        says("busy", 429, Retry_After="0"),
        says("busy", 429),
        says("busy", 503, Retry_After="soon"),
        says("broken", 500),
        says("broken", 502),
        says("slow", 408),
        says("", 202),
        cuts,
        says("not at all", 200, Content_Encoding="gzip"),
    ],
    ids=["429 at once", "429", "503", "500", "502", "408", "202", "cut", "no gzip"],
)
def test_what_may_mend_is_tried_again(shop: Shop, script: Script) -> None:
    shop.script.extend([script] * 3)
    assert asked(shop) == [{"id": 1}]
    assert len(shop.asked) == 4


@pytest.mark.parametrize("told", [lambda: "1", lambda: moment(2)], ids=["seconds", "moment"])
def test_it_waits_as_long_as_the_api_says(shop: Shop, told: Any) -> None:
    shop.script.append(says("busy", 429, Retry_After=told()))
    asked(shop)
    first, second = shop.asked
    assert 0.9 < second.at - first.at < 30


def test_it_does_not_wait_for_ever(shop: Shop) -> None:
    shop.script.append(says("busy", 429, Retry_After="3600"))
    error = refused(shop, "TW525", "asks to wait 3600 s")
    assert error.retryable
    assert len(shop.asked) == 1


@pytest.mark.parametrize("script", [says("busy", 503), cuts], ids=["503", "cut"])
def test_it_gives_up_in_the_end(shop: Shop, monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    monkeypatch.setattr(http_client, "TRIES", 3)
    shop.script.extend([script] * 9)
    assert refused(shop, "TW525", "the API (answers 503: busy|does not answer: RemoteProtocolError)").retryable
    assert len(shop.asked) == 3


def test_an_answer_that_does_not_come(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "TRIES", 2)
    monkeypatch.setattr(http_client, "PATIENCE", 0.2)
    shop.pause = 0.6
    assert refused(shop, "TW525", "does not answer: ReadTimeout").retryable


def test_nobody_is_there(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "TRIES", 2)
    assert refused(shop, "TW525", "does not answer: ConnectError", host="http://127.0.0.1:9").retryable


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 304])
def test_what_does_not_mend_is_told_at_once(shop: Shop, status: int) -> None:
    shop.script.append(says('{\n  "message": "no such thing"\n}', status))
    error = refused(shop, "TW525", f"answers {status}: .*" if status == 304 else f"answers {status}: .*no such thing")
    assert not error.retryable
    assert len(shop.asked) == 1
    assert ("login" in str(error)) == (status in (401, 403))


def test_no_content_is_none(shop: Shop) -> None:
    shop.script.append(says(b"", 204))
    assert asked(shop) is None


def test_an_answer_that_is_too_large(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "LARGEST", 1024 * 1024)
    shop.rows = ["x" * 1024] * 1025
    assert not refused(shop, "TW532", "more than 1 MiB").retryable


def test_a_redirect_within_the_api_is_followed(shop: Shop) -> None:
    shop.script.extend([says("", 302, Location="/v1/moved"), says("", 308, Location=f"{shop.address}/v1/whole?a=b")])
    assert asked(shop, login="me", password="stolen") == [{"id": 1}]
    assert [one.path for one in shop.asked] == ["/v1/whole", "/v1/moved", "/v1/whole"]
    assert all(one.headers["Authorization"].startswith("Basic ") for one in shop.asked)


def test_redirects_without_an_end(shop: Shop) -> None:
    shop.script.extend([says("", 302, Location="/v1/whole")] * 9)
    refused(shop, "TW533", "redirects lead to more")
    assert len(shop.asked) == http_client.REDIRECTS + 1


def test_a_redirect_to_another_host_is_refused(shop: Shop) -> None:
    with shops.opened() as other:
        shop.script.append(says("", 302, Location=f"{other.address}/v1/whole?stolen=1"))
        error = refused(shop, "TW533", "a redirect leads to another host", extra={"token": "stolen-token"})
        assert other.asked == []
    assert not error.retryable
    assert "stolen" not in str(error)


ELSEWHERE = [
    "http://api.example.com/v1/whole",
    "https://api.example.com:8443/v1",
    "https://other.example.com/",
    "//other.example.com/v1",
    "https://api.example.com@other.example.com/",
    "https://api.example.com.other.example.com/",
    "ftp://api.example.com/",
    "javascript:alert(1)",
    "https://[",
    "https://api.example.com:port/",
    "\x00",
]


@pytest.mark.parametrize("link", ELSEWHERE)
def test_a_link_to_elsewhere_is_refused(link: str) -> None:
    with opened(Connection("c", "http", "https://api.example.com/v1"), 0) as api:
        here = api.address("/whole", {})
        with pytest.raises(StepError, match="TW533") as caught:
            api.at(link, here, "the next page")
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("?page=2", "https://api.example.com/v1/whole?page=2"),
        ("/v2?a=%2Fb&sig=a+b%20c", "https://api.example.com/v2?a=%2Fb&sig=a+b%20c"),
        ("HTTPS://API.example.com:443/v1#x", "https://api.example.com/v1"),
        (r"https:\\other.example.com", r"https://api.example.com/v1/\\other.example.com"),
        ("https://you:there@api.example.com/v1", "https://api.example.com/v1"),
    ],
)
def test_a_link_within_the_api_is_taken_as_it_is(link: str, found: str) -> None:
    with opened(Connection("c", "http", "https://api.example.com/v1"), 0) as api:
        assert str(api.at(link, api.address("/whole", {}), "the next page")) == found


def test_only_whom_it_may_believe_is_believed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("shop", "shop", hosts=["127.0.0.1"]))
    with shops.opened(context) as shop:
        error = refused(shop, "TW525", "does not answer: ConnectError: .*CERTIFICATE_VERIFY_FAILED")
        assert not error.retryable
        assert shop.asked == []
        shop.rows = [{"id": 1}]
        assert asked(shop, extra={"ca": authority.certificate.read_text()}) == [{"id": 1}]


def test_each_request_bears_what_the_connection_has(shop: Shop) -> None:
    asked(shop, login="me", password="a word: €")
    asked(shop, extra={"token": "a-token\n", "headers": {"X-Team": "ml"}, "params": {"api_key": "k&y"}})
    asked(shop, host="", extra={"uri": f"{shop.address}/v1/"})
    asked(shop, host="127.0.0.1/v1", port=int(shop.address.rpartition(":")[2]))
    basic, bearer, none, apart = shop.asked
    assert basic.headers["Authorization"] == httpx.BasicAuth("me", "a word: €")._auth_header
    assert (bearer.headers["Authorization"], bearer.headers["X-Team"]) == ("Bearer a-token", "ml")
    assert bearer.query == {"status": "done", "api_key": "k&y"}
    assert (none.path, "Authorization" in none.headers) == ("/v1/whole", False)
    assert apart.path == "/v1/whole"


def test_no_secret_is_told(shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "TRIES", 2)
    secrets = {"login": "me", "password": "hunter2-password"}
    extra = {"headers": {"X-Key": "hunter2-header"}, "params": {"api_key": "hunter2 query"}}
    echo = "hunter2-password hunter2-header hunter2 query hunter2+query bWU6aHVudGVyMi1wYXNzd29yZA=="
    shop.script.extend([says(echo, 503), says(echo, 503), says(echo, 400)])
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            error = refused(shop, "TW525", "answers", extra=extra, **secrets)
            assert "hunter2" not in str(error)
            assert "bWU6" not in str(error)
            assert error.__cause__ is None
            assert error.__suppress_context__ or error.__context__ is None
        refused(shop, "TW525", "answers 404", "/absent", extra=extra, **secrets)
    told = [one.getMessage() for one in caplog.records if one.name in ("tradewind", "httpx")]
    assert told
    assert "hunter2" not in "".join(told)
    with opened(Connection.parse("shop", shop.connection(extra=extra, **secrets)), 0) as api:
        assert "hunter2" not in repr(api)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "no HTTP API"),
        (Connection("c", "postgres", "db"), "no HTTP API"),
        (Connection("c", "http", ""), "no address"),
        (Connection("c", "http", "", extra={"uri": "ftp://api.example.com"}), "no address"),
        (Connection("c", "http", "", extra={"uri": "http://me:hunter2@api:port/"}), "no address"),
        (Connection("c", "http", "api", extra={"headers": {"X-Key": "hunter2\r\nX: y"}}), "header(.|\n)*X-Key"),
        (Connection("c", "http", "api", extra={"headers": {"X Key": "hunter2"}}), "header(.|\n)*X Key"),
        (Connection("c", "http", "api", extra={"headers": "hunter2"}), "extra is not of texts"),
        (Connection("c", "http", "api", extra={"params": {"a": ["hunter2"]}}), "extra is not of texts"),
        (Connection("c", "http", "api", extra={"token": "hunter2 é"}), "token cannot be sent"),
        (Connection("c", "http", "api", extra={"ca": "hunter2"}), "no certificate"),
    ],
)
def test_a_connection_that_is_none_is_told(given: Connection | None, why: str) -> None:
    with pytest.raises(StepError, match=rf"TW525(.|\n)*{why}") as caught:
        Login.of(given)
    assert not caught.value.retryable
    assert "hunter2" not in str(caught.value)

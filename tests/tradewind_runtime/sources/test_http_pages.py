"""Pages that go round, go on for ever, lead elsewhere or hold no rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.servers import shop as shops
from tests.servers.shop import Script, Shop, says

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.http import HttpSource
from tradewind_runtime.sources.http_client import opened
from tradewind_runtime.sources.http_pages import pages
from tradewind_runtime.sources.http_rows import Answers

NUMBER = {"by": "number"}
OFFSET = {"by": "offset"}
LINK = {"by": "link", "next": "next"}
CURSOR = {"by": "cursor", "parameter": "token", "next": "next"}


@pytest.fixture
def shop() -> Iterator[Shop]:
    with shops.opened() as found:
        yield found


def read(shop: Shop, page: dict[str, Any] | None, *script: Script, **more: Any) -> list[list[bytes]]:
    """The rows of each page."""
    shop.script.extend(script)
    inside = {"rows": "rows"} if page and "next" in page else {}
    http = HttpSource(path="/whole", page=page, **inside | more)
    connection = Connection.parse("shop", shop.connection(extra={"params": {"key": "stolen-key"}}))
    with opened(connection, 0) as api:
        return [found.rows for found in pages(http, api, Answers(http, api), {})]


def refused(shop: Shop, why: str, page: dict[str, Any] | None, *script: Script, **more: Any) -> StepError:
    with pytest.raises(StepError, match=rf"(?s){why}") as caught:
        read(shop, page, *script, **more)
    assert "stolen" not in str(caught.value)
    return caught.value


def part(*rows: Any, next: Any = None) -> Script:
    return says({"rows": list(rows), "next": next})


@pytest.mark.parametrize(
    ("page", "script"),
    [
        (CURSOR, [part(1, next="a"), part(2, next="a")]),
        (CURSOR, [part(1, next="a"), part(2, next="b"), part(3, next="a")]),
        (LINK, [part(1, next="/v1/whole")]),
        (LINK, [part(1, next="?a=1"), part(2, next="?a=2"), part(3, next="?a=1")]),
        (NUMBER, [says([1, 2]), says([1, 2])]),
        (OFFSET, [says([1, 2]), says([3, 4]), says([3, 4])]),
        (OFFSET | {"next": "next"}, [part(1, next=True), part(next=True)]),
    ],
)
def test_pages_that_go_round_are_left(shop: Shop, page: dict[str, Any], script: list[Script]) -> None:
    assert not refused(shop, "TW533.*go round", page, *script).retryable


@pytest.mark.parametrize("page", [NUMBER, CURSOR, LINK])
def test_pages_without_an_end_are_left(shop: Shop, page: dict[str, Any]) -> None:
    number = page["by"] == "number"
    script = [says([n]) if number else part(n, next=f"?a={n}") for n in range(9)]
    refused(shop, "TW533.*more than 5 pages", page | {"most": 5}, *script)
    assert len(shop.asked) == 5


def test_a_last_page_that_is_just_allowed(shop: Shop) -> None:
    assert read(shop, CURSOR | {"most": 2}, part(1, next="a"), part(2)) == [[b"1"], [b"2"]]


def test_a_next_page_of_another_host_is_refused(shop: Shop) -> None:
    with shops.opened() as other:
        error = refused(shop, "TW533.*another host", LINK, part(1, next=f"{other.address}/v1/whole?token=stolen"))
        assert other.asked == []
    assert not error.retryable


def test_each_page_has_what_the_connection_asks_for(shop: Shop) -> None:
    read(shop, LINK, part(1, next="?a=1"), part(2))
    read(shop, CURSOR, part(1, next=7), part(2), params={"x": 1.5})
    assert shop.queries() == [
        {"key": "stolen-key"}, {"a": "1", "key": "stolen-key"},
        {"x": "1.5", "key": "stolen-key"}, {"x": "1.5", "token": "7", "key": "stolen-key"},
    ]  # fmt: skip


@pytest.mark.parametrize("end", [None, "", False])
def test_how_a_last_page_says_so(shop: Shop, end: Any) -> None:
    assert read(shop, CURSOR, part(1, next="a"), part(2, next=end)) == [[b"1"], [b"2"]]


@pytest.mark.parametrize("word", [True, 1.5, ["a"], {"a": 1}])
def test_a_next_page_that_is_none(shop: Shop, word: Any) -> None:
    assert not refused(shop, "TW533.*'next' leads to no page", CURSOR, part(1, next=word)).retryable


def test_pages_without_rows_between_others(shop: Shop) -> None:
    assert read(shop, CURSOR, part(next="a"), part(next="b"), part(1)) == [[], [], [b"1"]]


@pytest.mark.parametrize(
    ("body", "rows", "why"),
    [
        ("<html>Please log in</html>", None, "is not JSON.*log in"),
        (b'["\xff"]', None, "is not JSON"),
        ("[" * 100_000, None, "is not JSON"),
        ('{"key": "stolen-key"', None, "is not JSON"),
        ({"data": []}, None, "no list of rows as a whole.*an object of data"),
        ({"data": []}, "rows", "no list of rows at 'rows'.*an object of data"),
        ({"data": {"rows": {"a": 1}}}, "data.rows", "no list of rows at 'data.rows'.*dict"),
        ([], "data.rows", "no list of rows at"),
        (7, None, "no list of rows"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_what_the_yaml_says(shop: Shop, body: Any, rows: str | None, why: str) -> None:
    error = refused(shop, f"TW532.*{why}", None, says(body), rows=rows)
    assert error.retryable == ("JSON" in why)


def test_no_rows_may_be_null(shop: Shop) -> None:
    assert read(shop, None, says({"rows": None}), rows="rows") == [[]]


@pytest.mark.parametrize(
    ("script", "why"),
    [([says("a,a\n1,2")], "each column once"), ([says("a,b\n1,2"), says("b,a\n1,2")], "the first page's")],
)
def test_a_header_that_is_not_one(shop: Shop, script: list[Script], why: str) -> None:
    refused(shop, f"TW532.*{why}", NUMBER, *script, format="csv")


def test_csv_with_a_mark_and_without_rows(shop: Shop) -> None:
    script = [says(b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n2,z'), says("a,b\n")]
    assert read(shop, NUMBER, *script, format="csv") == [[b'1,"x\r\ny"', b"2,z"], []]
    assert read(shop, NUMBER, says("a,b\n1,2"), says(""), format="csv") == [[b"1,2"], []], "beyond the last page"
    refused(shop, "TW532.*no header", NUMBER, says(""), format="csv")


def test_a_quote_that_is_open_to_the_end_is_told_and_takes_no_time(shop: Shop) -> None:
    lines = 'a,b\n1,5" pipe\n' + "2,z\n" * 300_000
    began = time.monotonic()
    refused(shop, "TW532.*has no end(.|\n)*300001 lines", NUMBER, says(lines), format="csv")
    assert time.monotonic() - began < 20


def test_pages_that_the_yaml_does_not_know_of_are_not_left_out_in_silence(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    refused(shop, "TW533.*does not say how they follow", None, says([1, 2], Link='</v1/whole?a=1>; rel="next"'))
    misspelt = {"by": "cursor", "parameter": "token", "next": "nxt", "size": 2, "size_parameter": "limit"}
    assert len(read(shop, misspelt, part(1, 2, next="a"))) == 1
    assert "has nothing at 'nxt'" in caplog.text

"""Keys that are no object's, or that nobody can say: of a store that gives whatever it is told to have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from tests.servers.loopback import JsonHandler, served

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import ObjectsSource
from tradewind_runtime.sources.listing import Waiting, Way, matching

LONG_AGO = "2013-01-01T00:00:00.000Z"
LATER = "2014-01-01T00:00:00.000Z"


class _Keys(JsonHandler):
    """What S3 answers to ListObjectsV2 and HEAD."""

    keys: dict[str, int]  # and their sizes
    asked: list[str]

    def do_HEAD(self) -> None:
        key = unquote(urlsplit(self.path).path).removeprefix("/landing/")
        self.asked.append(key)
        self.send_response(200 if key in self.keys else 404)
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Tue, 01 Jan 2013 00:00:00 GMT")
        self.send_header("Content-Length", str(self.keys.get(key, 0)))
        self.end_headers()

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        found = [key for key in sorted(self.keys) if key.startswith(prefix)]
        deeper = [key for key in found if delimiter and delimiter in key[len(prefix) :]]
        below = {prefix + key[len(prefix) :].partition("/")[0] + "/" for key in deeper}
        body = "".join(self._entry(key) for key in found if key not in deeper)
        body += "".join(f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>" for key in sorted(below))
        self.say(200, f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{body}</ListBucketResult>')

    def _entry(self, key: str) -> str:
        time = LATER if key.endswith("/") else LONG_AGO
        about = f"<LastModified>{time}</LastModified><ETag>&quot;e&quot;</ETag><Size>{self.keys[key]}</Size>"
        return f"<Contents><Key>{escape(key)}</Key>{about}</Contents>"


@contextmanager
def store(*empty: str, asked: list[str] | None = None, **sizes: int) -> Iterator[Way]:
    """The way to a bucket with these keys."""
    keys = dict.fromkeys(empty, 0) | {f"in/{name}.csv": size for name, size in sizes.items()}
    with served(_Keys, keys=keys, asked=[] if asked is None else asked) as address:
        extra = {"endpoint_url": address, "region_name": "us-east-1"}
        yield Way(Connection("s3_default", "aws", "", login="key", password="secret", extra=extra))


def objects(pattern: str, **more: Any) -> ObjectsSource:
    return ObjectsSource(uri=f"s3://landing/{pattern}", connection="s3_default", **more)


def test_a_folder_that_a_console_made_is_no_object() -> None:
    asked: list[str] = []
    with store("in/", "in/sub/", "in/empty.csv", "in/both", "in/both/", asked=asked, a=4) as way:
        assert list(matching(objects("in/**"), way)) == ["in/a.csv", "in/both", "in/empty.csv"]
        assert "in/a.csv" not in asked, "what has content is no marker"
        assert list(matching(objects("in/*"), way)) == ["in/a.csv", "in/both", "in/empty.csv"]
        assert list(matching(objects("**"), way)) == ["in/a.csv", "in/both", "in/empty.csv"]
        assert list(matching(objects("in/**", mode="replace"), way)) != ["in/sub"], "though it is the newest"


def test_a_marker_beside_an_object_of_its_name_leaves_that_one() -> None:
    with store("in/a.csv/", a=4) as way:
        assert matching(objects("in/*.csv"), way) == {"in/a.csv": "e"}


def test_no_run_stops_waiting_for_a_marker() -> None:
    now = datetime(2013, 1, 1, tzinfo=UTC)
    waiting = Waiting({"w": objects("in/**", wait="1h")}, now)
    with store("in/", "in/sub/") as way:
        assert waiting.missing({"w": way}, now)
    with store("in/", "in/sub/", "in/empty.csv") as way:
        assert not waiting.missing({"w": way}, now)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("in/logs//x.txt", '"in/logs//x.txt"'),
        ("in/./x.txt", '"in/./x.txt"'),
        ("in/a\tb.txt", r'"in/a\tb.txt"'),
        ('in/a"b\x1f.txt', r'"in/a\"b\u{1f}.txt"'),
    ],
)
def test_a_key_that_nobody_can_say_is_told(key: str, told: str) -> None:
    with store(key, a=4) as way, pytest.raises(StepError) as caught:
        matching(objects("in/**"), way)
    assert not caught.value.retryable
    (problem,) = caught.value.problems
    assert (problem.code, problem.got) == ("TW525", "in/**")
    assert told in problem.message
    assert "move it to another prefix" in str(problem.fix)


def test_one_that_is_deeper_than_the_glob_stops_nothing() -> None:
    with store("in/logs//x.txt", "in/sub//", a=4) as way:
        assert list(matching(objects("in/*.csv"), way)) == ["in/a.csv"]
        assert list(matching(objects("in/a*"), way)) == ["in/a.csv"]


def test_an_address_with_a_control_character_is_told() -> None:
    with store(a=4) as way, pytest.raises(StepError, match="TW525: no object has such a key") as caught:
        matching(objects("in/a\tb.csv"), way)
    assert not caught.value.retryable

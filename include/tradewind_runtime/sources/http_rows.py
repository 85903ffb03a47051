"""Answers of an HTTP API as rows: the text of each, and what stands beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.http import HttpSource
from tradewind_runtime.sources.files.base import BLOCK, ROWS
from tradewind_runtime.sources.http_client import Answer, Api, shown
from tradewind_runtime.sources.messages import base
from tradewind_runtime.sources.messages import json as json_texts
from tradewind_runtime.sources.messages.csv import Decoder as CsvDecoder
from tradewind_runtime.sources.newcolumns import Columns

_MISSING = object()


@dataclass(frozen=True)
class Page:
    """The rows of an answer, each as its text, and the answer whole where it is JSON."""

    answer: Answer
    rows: list[bytes]
    whole: Any = None

    def has(self, place: str) -> bool:
        """Whether anything stands there, and be it a null."""
        return _at(self.whole, place) is not _MISSING

    def beside(self, place: str) -> Any:
        """What stands beside the rows; None where nothing does."""
        found = _at(self.whole, place)
        return None if found is _MISSING else found


@dataclass
class Answers:
    """Takes the rows out of answers, by the source's format."""

    http: HttpSource
    api: Api
    header: list[str] = field(default_factory=list)  # of CSV, as its first page has it

    def page(self, answer: Answer) -> Page:
        """What an answer has.

        Raises:
            StepError: TW532 where it is not what the YAML says.
        """
        if answer.body is None:
            return Page(answer, [])
        if self.http.format == "json":
            return self._json(answer, answer.body)
        if self.http.format == "csv":
            return Page(answer, self._csv(answer, answer.body))
        return Page(answer, [line for line in answer.body.split(b"\n") if line.strip()])

    def decoder(self, columns: Columns) -> base.Decoder:
        """Of the rows' texts, once the first page is there."""
        if self.http.format == "csv":
            return CsvDecoder(columns, delimiter=",", nulls=self.http.nulls, header=self.header)
        return json_texts.Decoder(columns)

    def _json(self, answer: Answer, body: bytes) -> Page:
        try:
            whole = json.loads(body)
        except (ValueError, RecursionError) as error:
            said = self.api.login.hide(" ".join(body[:400].decode("utf-8", "replace").split()))[:80]
            raise StepError(
                "TW532", f"an answer is not JSON: {_why(error)}", got=f"{shown(answer.url)}: {said}",
                fix="see http.format and http.path; a page for people, such as a login's, is none of an API",
            ) from None  # fmt: skip
        found = whole if self.http.rows is None else _at(whole, self.http.rows)
        if found is None:  # so some say that there is none
            return Page(answer, [], whole)
        if not isinstance(found, list):
            place = f"at {self.http.rows!r}" if self.http.rows else "as a whole"
            raise StepError(
                "TW532", f"an answer has no list of rows {place}", retryable=False,
                got=f"{shown(answer.url)}: {self.api.login.hide(_told(whole, found))}", expected="a list of objects",
                fix="say by http.rows where the list is, as data.items",
            )  # fmt: skip
        return Page(answer, [json.dumps(row).encode() for row in found], whole)

    def _csv(self, answer: Answer, body: bytes) -> list[bytes]:
        try:
            lines = list(_records(body.removeprefix(b"\xef\xbb\xbf")))
        except EOFError as error:
            raise StepError("TW532", "an answer's last row has no end", got=f"{shown(answer.url)}: {error}") from None
        if not lines and self.header:  # beyond the last page
            return []
        if not lines:
            raise StepError(
                "TW532", "an answer has no header", got=shown(answer.url), fix="see http.path and http.format"
            )
        header = next(csv.reader([lines[0].decode("utf-8", "replace")]), [])
        if not self.header:
            self.header = header
        if header != self.header or len(set(header)) < len(header):
            raise StepError(
                "TW532", "an answer's header is not one", retryable=False, got=f"{shown(answer.url)}: {header}",
                expected=f"the first page's, {self.header}" if header != self.header else "each column once",
                fix="see http.path and http.params",
            )  # fmt: skip
        return lines[1:]


def numbered(pages: Iterable[Page], most: int) -> Iterator[tuple[list[bytes], int]]:
    """The rows' texts, of as many pages as are good to decode at once, with the number of the first.

    Args:
        pages: one after the other.
        most: about how many rows are wanted at once.
    """
    start = size = 0
    texts: list[bytes] = []
    for page in pages:
        texts += page.rows
        size += sum(map(len, page.rows))
        if len(texts) >= min(ROWS, most) or size >= BLOCK:
            yield texts, start
            start += len(texts)
            texts, size = [], 0
    if texts:
        yield texts, start


def _records(body: bytes) -> Iterator[bytes]:
    """Lines of a CSV, each whole: what stands between quotes may have more of them.

    Raises:
        EOFError: where a quote is open at the end: whatever came after it is no row.
    """
    record: list[bytes] = []
    open_ = False
    for line in body.splitlines(keepends=True):
        record.append(line)
        open_ ^= line.count(b'"') % 2 == 1
        if not open_:
            whole = b"".join(record).rstrip(b"\r\n")
            if whole.strip():
                yield whole
            record = []
    if open_:
        msg = f"a quote is open after {len(record)} lines"
        raise EOFError(msg)


def _at(whole: Any, place: str) -> Any:
    found = whole
    for key in place.split("."):
        if not isinstance(found, dict) or key not in found:
            return _MISSING
        found = found[key]
    return found


def _told(whole: Any, found: Any) -> str:
    """What is there instead: names, no values."""
    if found is _MISSING or found is whole:
        return f"an object of {', '.join(map(str, whole))}"[:200] if isinstance(whole, dict) else type(whole).__name__
    return type(found).__name__


def _why(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__

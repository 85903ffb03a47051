"""JSON lines: whether Arrow parses many at once or each is read by itself, rows and refusals are the same."""

from __future__ import annotations

import json as texts
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.sources.messages.test_json_known import TOKENS, VALUES

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources.columns import known
from tradewind_runtime.sources.files import Dialect, Origin, json, open_rows
from tradewind_runtime.sources.messages import json as messages
from tradewind_runtime.sources.messages.json import Decoder
from tradewind_runtime.sources.newcolumns import Columns

COLUMNS = {
    "n": "long", "i": "integer", "f": "double", "b": "boolean", "s": "string", "t": "timestamp", "d": "date",
    "class": "string", "short": "float", "price": "decimal(9,2)", "raw": "binary",
}  # fmt: skip
GOOD = '{"n": 1, "s": "x"}'
Found = tuple[list[dict[str, Any]], list[tuple[int, str, bytes]]]


@pytest.fixture(autouse=True)
def _however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "SMALL", 0)


def read(path: Path, columns: dict[str, str] | None) -> Found:
    """Rows without what ingestion adds but their numbers, and what was refused."""
    source = Source.model_validate({"objects": {"uri": "a.json"}, "columns": columns})
    origin = Origin("a.json", "id", 1)
    rows = open_rows(path, "json", Columns.of(source, known(source, None)), dialect=Dialect(()), origin=origin)
    table = pa.Table.from_batches(list(rows.batches()), rows.schema).drop_columns(["_source", "_ingested"])
    return table.to_pylist(), sorted((bad.position, bad.reason, bad.content) for bad in rows.bad)


def both(path: Path, columns: dict[str, str] | None = COLUMNS) -> tuple[Found, int]:
    """The same, which each by itself gives too, and how many rows came of many at once."""
    together, count = Decoder.together, 0

    def counted(decoder: Decoder, lines: bytes) -> pa.Table | None:
        nonlocal count
        table = together(decoder, lines)
        count += table.num_rows if table else 0
        return table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "together", counted)
        found = read(path, columns)
        patch.setattr(Decoder, "together", lambda *_: None)
        assert repr(read(path, columns)) == repr(found)
    return found, count


def written(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "a.json"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return path


@pytest.mark.parametrize("column", [*COLUMNS, "other"])
def test_each_value_is_taken_or_refused_by_both(tmp_path: Path, column: str) -> None:
    """Alone and among others, in a column and within what is not read."""
    for token in [*TOKENS, "9999999.99", "99999999", "1.555", '"1.5"', "1e39", '"AP8="', '"9999-12-31T23:00:00-05:00"']:
        for text in (f'{{"{column}": {token}}}', f'{{"x": [{token}], "{column}": null}}'):
            both(written(tmp_path, text))
            both(written(tmp_path, GOOD, text, GOOD))


@pytest.mark.parametrize(
    "lines",
    [
        [GOOD, "", GOOD], [GOOD, " ", GOOD], [GOOD + " ", GOOD], [" " + GOOD, GOOD], [GOOD, GOOD, ""],
        [GOOD + GOOD, GOOD], [GOOD + " " + GOOD, '{"n":', "2}"], ['{"n": 1,', '"s": "x"}', GOOD], ["{", "}", GOOD],
        ['{"s": "}', '{"}', GOOD], ['{"s": "a}', '{b"}'], [GOOD, '{"n": 1, "n": 2}'], ['{"x": 1, "x": 2}', GOOD],
        ["[1]", GOOD], ["null"], ["{}", "{}"], ["{}}", "{{}"], ['{"n": 1}}', "{", GOOD], [GOOD, "{" * 300],
        [GOOD, '{"x": ' + "[" * 100 + "]" * 100 + "}"], [GOOD, '{"x": ' + "[" * 300 + "]" * 300 + "}"],
        [b'{"x": "\xff"}', GOOD], [b'\xef\xbb\xbf{"n": 1}', GOOD], [GOOD + "\r", GOOD + "\r", GOOD],
        ['{"\\u006e": 5}', GOOD], ['{"s": "\0"}', GOOD], ['{"s": "NaN"}', '{"x": NaN}'], ['{"x": -Infinity}', GOOD],
        ['{"n":\r null}', GOOD], ["\r", GOOD], ['{"x": "Info: Inf"}', GOOD], ['{"x": [1, Infinity]}', GOOD],
        ['{"n": 1},"x":{"n": 2}', GOOD], ['{"x":', '{"n": 2}}{"n": 3}'], ['{"s": "a" /* b */}', GOOD],
        ['{"n": 1,}', GOOD], [""], [],
    ],
)  # fmt: skip
def test_lines_of_every_kind_are_read_alike(tmp_path: Path, lines: list[str | bytes]) -> None:
    both(written(tmp_path, *lines))
    both(written(tmp_path, *lines), None)


@given(st.lists(VALUES, max_size=8), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_objects_are_read_alike(tmp_path: Path, values: list[dict[str, Any]], ascii_only: bool) -> None:
    both(written(tmp_path, *(texts.dumps(value, ensure_ascii=ascii_only) for value in values)))


@pytest.mark.parametrize("columns", [{"n": "long", "s": "string"}, None], ids=["named", "inferred"])
def test_lists_and_objects_are_strings_as_they_are_written(tmp_path: Path, columns: dict[str, str] | None) -> None:
    lines = [f'{{"n": {n}, "s": {{"a": [{n}, "x"] }}}}' for n in range(3)] + ['{"n": 3, "s": "x"}', '{"n": 4, "s": 5}']
    (found, bad), _ = both(written(tmp_path, *lines), columns)
    assert [row["s"] for row in found] == [f'{{"a": [{n}, "x"] }}' for n in range(3)] + ["x"]
    assert [position for position, _, _ in bad] == [4]


def test_what_is_as_it_should_be_is_parsed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what makes it quick: by all cores, with a line's end or none at the end, and what is not read."""
    monkeypatch.setattr(messages, "CHUNK", 64)
    lines = [f'{{"n": {n}, "x": [{{}}], "t": "2013-01-01T05:00:00Z"}}' for n in range(100)]
    for end in ([], [""]):
        (rows, bad), count = both(written(tmp_path, *lines, *end), {"n": "long", "t": "timestamp"})
        assert (count, bad) == (100, [])
        assert [(row["n"], row["_position"]) for row in rows] == [(n, n) for n in range(100)]


def test_a_bad_line_costs_a_row_and_a_block_its_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "BLOCK", 100)
    lines = [f'{{"n": {n}}}' for n in range(100)]
    lines[11], lines[61] = '{"n": "x"}', ""
    (rows, bad), count = both(written(tmp_path, *lines), {"n": "long"})
    assert [row["n"] for row in rows] == [n for n in range(100) if n not in (11, 61)]
    assert [row["_position"] for row in rows] == [n - (n > 61) for n in range(100) if n not in (11, 61)]
    assert bad == [(11, 'column n: the string "x" is not of type long', b'{"n": "x"}')]
    assert 60 < count < 98


def test_what_arrow_reads_otherwise_or_dies_of_is_not_taken_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(Columns(pa.schema([("n", pa.int64()), ("s", pa.string()), ("f", pa.float64())])))
    for line in (GOOD, '{"f": -0.0, "s": "2013-01-01"}', '{"f": 0, "s": "-0"}'):
        assert decoder.together(f"{GOOD}\n{line}".encode()) is not None
    for line in ('{"f": -0}', '{"x": [NaN]}'):
        assert decoder.together(f"{GOOD}\n{line}\n{GOOD}".encode()) is None
    monkeypatch.setattr(pj, "read_json", lambda *_: pytest.fail("it was asked"))
    for line in ('{"n":\r null}', f'{{"s": "{"x" * 2**20}"}}'):
        assert decoder.together(f"{GOOD}\n{line}\n{GOOD}".encode()) is None


def test_a_line_that_is_longer_than_what_a_thread_parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "CHUNK", 64)
    (rows, bad), _ = both(written(tmp_path, GOOD, f'{{"s": "{"x" * 200}"}}', GOOD))
    assert ([len(row["s"]) for row in rows], bad) == ([1, 200, 1], [])


def test_a_mark_of_the_bytes_order_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (rows, bad), _ = both(written(tmp_path, b"\xef\xbb\xbf" + b'{"n": 1}', '{"n": 2}'), {"n": "long"})
    assert ([row["n"] for row in rows], bad) == ([1, 2], [])
    assert both(written(tmp_path, b"\xef\xbb\xbf"), {"n": "long"})[0] == ([], [])

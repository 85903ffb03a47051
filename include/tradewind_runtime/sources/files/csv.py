"""CSV with a header.

Fields are typed by Arrow while it reads them, up to the first block in which one is not of its type. From there on each
is read as bytes and typed by us, which takes longer, so that one bad field costs one row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from tradewind_runtime.sources.columns import TIMESTAMP, ZONED, in_years
from tradewind_runtime.sources.files.base import (
    BLOCK,
    SMALL,
    Blocks,
    Dialect,
    FileRows,
    Small,
    column_names,
    stream,
    unreadable,
)
from tradewind_runtime.sources.newcolumns import Columns

CONTENTS = "csv"
LONGEST = 1024 * 1024  # bytes of a header
TOGETHER = 2 * 1024 * 1024  # bytes of small files that are parsed at once
_LOCAL = pa.timestamp("us")  # in UTC, as are all that name no zone
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def opened(path: Path, rows: FileRows) -> Blocks:
    """A file's rows, by its header."""
    dialect = rows.dialect
    with stream(path) as content:
        head = content.read(LONGEST + 1)
    header, lines, rest = _parted(head.decode("utf-8-sig", "surrogateescape"), dialect)
    if len(head) > LONGEST and not rest:
        raise unreadable(rows.origin, f"its header is longer than {LONGEST} bytes")
    if any(map(_NO_TEXT.search, header)):
        raise unreadable(rows.origin, "its header is not UTF-8")
    names = rows.names = column_names(header, rows.origin)
    empty = len(head) <= LONGEST and not rest.strip(" \r\n")
    if rows.columns.grows:
        rows.columns.settle(
            pa.schema([(name, pa.string()) for name in names]) if empty else _inferred(path, names, lines, dialect)
        )
    if empty:
        return iter(())
    asbytes = dict.fromkeys(names, pa.binary())
    quick = _typed(dict(zip(names, _first(rest, dialect), strict=False)), names, rows.columns) or asbytes
    content = head if len(head) <= SMALL else None
    if content is not None and quick is not asbytes and lines == 1 and _certain(content):
        kind, start = (names, quick, dialect), content.index(b"\n") + 1
        count = content.count(b"\n", start) + (not content.endswith(b"\n"))
        rows.small = Small(
            (content, start), count, len(content), len(content) / TOGETHER, kind, partial(_together, *kind)
        )
    return _either(_Reading(path, content, names, lines, rows), quick, asbytes)


def _parted(text: str, dialect: Dialect) -> tuple[list[str], int, str]:
    """A header, the lines up to its end and what comes then: lines before it may be empty, a name may go over several.

    Raises:
        csv.Error: of quotes that go over lines and are not closed as they should be: what they hold may be rows.
    """
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=dialect.delimiter)
    empty = 0
    while not (header := next(reader, None)) and header is not None:
        empty = reader.line_num
    if reader.line_num > empty + 1:
        lines.seek(0)
        header = next(filter(None, csv.reader(lines, delimiter=dialect.delimiter, strict=True)))
    return header or [], reader.line_num, lines.read()


def _first(rest: str, dialect: Dialect) -> list[str]:
    """Values of the first row, where none is very long."""
    with suppress(csv.Error):
        return next(filter(None, csv.reader(io.StringIO(rest, newline=""), delimiter=dialect.delimiter)), [])
    return []


def _certain(content: bytes) -> bool:
    """Whether there is no end of a row but those of lines.

    Then, of as many rows as lines, each is one: an empty line is none, and a line's end within quotes is of none, but
    for the last.
    """
    return content.count(b"\r") == content.count(b"\r\n")


def _together(
    names: list[str], types: Mapping[str, pa.DataType], dialect: Dialect, contents: Sequence[tuple[bytes, int]]
) -> pa.Table | None:
    """The rows of files, each with where its first one begins; None where a line is no row of these types."""
    # The first header and the last end as they are: to a parser both matter.
    (first, start), (last, _) = contents[0], contents[-1]
    text = first[:start] + b"\n".join(content[start:].removesuffix(b"\n") for content, start in contents)
    text += b"\n" if last.endswith(b"\n") else b""
    read = pcsv.ReadOptions(use_threads=False, column_names=names, skip_rows=1, block_size=len(text))
    try:
        table = pcsv.read_csv(pa.BufferReader(text), read, _parsing(dialect), _conversion(types, dialect))
        return table if _sound(table) else None
    except pa.ArrowInvalid:
        return None


def _parsing(dialect: Dialect, refuse: Callable[[pcsv.InvalidRow], str] | None = None) -> pcsv.ParseOptions:
    """Fields of a row, and what is done with one that has too many or too few."""
    return pcsv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=refuse)


def _conversion(types: Mapping[str, pa.DataType], dialect: Dialect) -> pcsv.ConvertOptions:
    """To these types, of the columns that have one here."""
    return pcsv.ConvertOptions(
        column_types=types, include_columns=[*types], null_values=list(dialect.nulls), strings_can_be_null=True
    )


def _typed(first: Mapping[str, str], names: list[str], columns: Columns) -> dict[str, pa.DataType]:
    """Types of the columns that are wanted, by the values of the first row; none where others matter too."""
    if columns.looks and not {*names} <= {*columns.schema.names}:
        return {}
    return {
        column.name: _LOCAL
        if column.type == TIMESTAMP and not ZONED.search(first.get(column.name, ""))
        else column.type
        for column in columns.schema
        if column.name in names
    }


def _inferred(path: Path, names: list[str], lines: int, dialect: Dialect) -> pa.Schema:
    """Types by the file's first block, as Arrow sees them."""
    with stream(path) as content:
        reader = pcsv.open_csv(
            content,
            read_options=pcsv.ReadOptions(use_threads=False, column_names=names, skip_rows=lines, block_size=BLOCK),
            parse_options=_parsing(dialect, lambda _row: "skip"),
            convert_options=pcsv.ConvertOptions(null_values=list(dialect.nulls), strings_can_be_null=True),
        )
        return reader.schema


def _either(reading: _Reading, quick: Mapping[str, pa.DataType], asbytes: Mapping[str, pa.DataType]) -> Blocks:
    """Blocks by the quick types, and from where that does not go on as bytes: blocks are the same."""
    done = 0
    try:
        for table, numbers in reading.blocks(quick):
            if not _sound(table):
                break
            yield table, numbers
            done += 1
        else:
            return
    except pa.ArrowInvalid:
        if quick is asbytes:
            raise
    yield from islice(reading.blocks(asbytes), done, None)


def _sound(table: pa.Table) -> bool:
    """Whether its values are of their types also where Arrow does not look.

    Raises:
        pa.ArrowInvalid: where they are not, too.
    """
    decimals = [column.name for column in table.schema if pa.types.is_decimal(column.type)]
    table.select(decimals).validate(full=True)  # Arrow looks at their digits before it adds zeros to them
    return all(in_years(table[column.name]) for column in table.schema if pa.types.is_temporal(column.type))


@dataclass
class _Reading:
    """Reads one file, once more where it must: a broken row is told once."""

    path: Path
    content: bytes | None  # all of it, where that is little
    names: list[str]
    lines: int  # of its header
    rows: FileRows
    broken: set[int] = field(default_factory=set)

    def blocks(self, types: Mapping[str, pa.DataType]) -> Blocks:
        """The file's blocks, with the columns that have a type here."""
        start = 0
        dialect = self.rows.dialect
        for table in self._tables(_parsing(dialect, self._refuse), _conversion(types, dialect)):
            numbers = _numbers(start, table.num_rows, self.broken)
            if table.num_rows:
                start = int(numbers[-1]) + 1
            yield table, numbers

    def _tables(self, parse: pcsv.ParseOptions, convert: pcsv.ConvertOptions) -> Iterator[pa.Table]:
        read = pcsv.ReadOptions(use_threads=False, column_names=self.names, skip_rows=self.lines, block_size=BLOCK)
        if self.content is not None:  # a small one is there already, and is read at once
            yield pcsv.read_csv(pa.BufferReader(self.content), read, parse, convert)
            return
        with stream(self.path) as content:
            for batch in pcsv.open_csv(content, read, parse, convert):
                yield pa.Table.from_batches([batch])

    def _refuse(self, row: pcsv.InvalidRow) -> str:
        number = row.number - 1 - self.lines  # from 1, the header included
        if number not in self.broken:
            self.broken.add(number)
            reason = f"{row.actual_columns} fields where {row.expected_columns} are expected"
            self.rows.refuse(number, reason, row.text.encode("utf-8", "surrogateescape"))
        return "skip"


def _numbers(start: int, count: int, broken: set[int]) -> np.ndarray:
    """The next row numbers, past those of broken rows."""
    numbers = np.arange(start, start + count + len(broken))
    if broken:
        numbers = numbers[~np.isin(numbers, list(broken))]
    return numbers[:count]

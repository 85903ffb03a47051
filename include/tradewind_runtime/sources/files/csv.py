"""CSV with a header. Every field is read as bytes and typed by us, so that one bad field costs one row."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from tradewind_runtime.sources.files.base import BLOCK, Blocks, FileRows, column_names, stream, unreadable

CONTENTS = "csv"
LONGEST = 1024 * 1024  # bytes of a header
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def opened(path: Path, rows: FileRows, nulls: Sequence[str]) -> Blocks:
    """A file's rows, by its header."""
    with stream(path) as content:
        head = content.read(LONGEST + 1)
    text = head.decode("utf-8-sig", "surrogateescape")
    header = next(csv.reader(text.splitlines(keepends=True)), [])
    if len(head) > LONGEST and not re.search("[\r\n]", text):
        raise unreadable(rows.origin, f"its header is longer than {LONGEST} bytes")
    if any(map(_NO_TEXT.search, header)):
        raise unreadable(rows.origin, "its header is not UTF-8")
    names = column_names(header, rows.origin)
    empty = not header or not text.partition("\n")[2].strip()
    if rows.columns.grows:
        rows.columns.settle(
            pa.schema([(name, pa.string()) for name in names]) if empty else _inferred(path, names, nulls)
        )
    return iter(()) if empty else _blocks(path, names, nulls, rows)


def _inferred(path: Path, names: list[str], nulls: Sequence[str]) -> pa.Schema:
    """Types by the file's first block, as Arrow sees them."""
    with stream(path) as content:
        reader = pcsv.open_csv(
            content,
            read_options=pcsv.ReadOptions(use_threads=False, column_names=names, skip_rows=1, block_size=BLOCK),
            parse_options=pcsv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _row: "skip"),
            convert_options=pcsv.ConvertOptions(null_values=list(nulls), strings_can_be_null=True),
        )
        return reader.schema


def _blocks(path: Path, names: list[str], nulls: Sequence[str], rows: FileRows) -> Blocks:
    broken: set[int] = set()

    def refuse(row: pcsv.InvalidRow) -> str:
        number = row.number - 2  # from 1, the header included
        broken.add(number)
        reason = f"{row.actual_columns} fields where {row.expected_columns} are expected"
        rows.refuse(number, reason, row.text.encode("utf-8", "surrogateescape"))
        return "skip"

    with stream(path) as content:
        reader = pcsv.open_csv(
            content,
            read_options=pcsv.ReadOptions(use_threads=False, column_names=names, skip_rows=1, block_size=BLOCK),
            parse_options=pcsv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pcsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), null_values=list(nulls), strings_can_be_null=True
            ),
        )
        start = 0
        for batch in reader:
            numbers = _numbers(start, batch.num_rows, broken)
            if batch.num_rows:
                start = int(numbers[-1]) + 1
            yield pa.Table.from_batches([batch]), numbers


def _numbers(start: int, count: int, broken: set[int]) -> np.ndarray:
    """The next row numbers, past those of broken rows."""
    numbers = np.arange(start, start + count + len(broken))
    if broken:
        numbers = numbers[~np.isin(numbers, list(broken))]
    return numbers[:count]

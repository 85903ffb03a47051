"""JSON lines: an object a line.

Many lines of known columns are parsed by Arrow at once, on all cores, where each is an object of their types as it
should be. Others are read one by one, which takes longer, so that a broken one costs one row.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from tradewind_runtime.sources.files.base import BLOCK, ROWS, SMALL, Blocks, FileRows, stream
from tradewind_runtime.sources.messages.json import Decoder

CONTENTS = "json"
LONGEST = 64 * 1024 * 1024  # bytes of a line


def opened(path: Path, rows: FileRows) -> Blocks:
    """A file's rows, by what its first lines have."""
    decoder = Decoder(rows.columns)
    if rows.columns.grows:  # the first lines say which columns there are
        for block in _whole(path):
            if lines := _lines(block):
                decoder.decode(lines[:ROWS])
                break
        rows.columns.settle(pa.schema([]))
    return _read(path, rows, decoder)


def _read(path: Path, rows: FileRows, decoder: Decoder) -> Blocks:
    start = 0
    for block in _whole(path):
        table = decoder.together(block) if len(block) > SMALL else None  # few are sooner read than Arrow has begun
        if table is not None:
            yield table, np.arange(start, start + table.num_rows)
            start += table.num_rows
            continue
        lines = _lines(block)
        yield from rows.decoded(_numbered(lines, start), decoder)
        start += len(lines)


def _lines(block: bytes) -> list[bytes]:
    """Those that hold something."""
    return [*filter(bytes.strip, block.split(b"\n"))]


def _numbered(lines: list[bytes], start: int) -> Iterator[tuple[list[bytes], int]]:
    """Some at a time, with the number of the first."""
    for at in range(0, len(lines), ROWS):
        yield lines[at : at + ROWS], start + at


def _whole(path: Path) -> Iterator[bytes]:
    """A file in blocks that end where a line does."""
    with stream(path) as content:
        rest = content.read(len(BOM_UTF8)).removeprefix(BOM_UTF8)
        while block := content.read(BLOCK):
            if (end := block.rfind(b"\n")) >= 0:
                yield b"".join((rest, memoryview(block)[:end]))
                rest, block = b"", block[end + 1 :]
            rest += block
            if len(rest) > LONGEST:
                msg = f"a line is longer than {LONGEST} bytes"
                raise pa.ArrowInvalid(msg)
    yield rest

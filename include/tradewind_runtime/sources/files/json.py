"""JSON lines: an object a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from tradewind_runtime.sources.files.base import BLOCK, ROWS, Blocks, FileRows, stream
from tradewind_runtime.sources.messages.json import Decoder

CONTENTS = "json"
LONGEST = 64 * 1024 * 1024  # bytes of a line
BYTES = 4 * BLOCK  # about how many are parsed at once


def opened(path: Path, rows: FileRows, nulls: Sequence[str]) -> Blocks:
    """A file's rows, by what its first lines have."""
    del nulls
    decoder = Decoder(rows.columns)
    if rows.columns.grows:  # the first lines say which columns there are
        for lines, _ in _lines(path):
            decoder.decode(lines)
            break
        rows.columns.settle(pa.schema([]))
    return rows.decoded(_lines(path), decoder)


def _lines(path: Path) -> Iterator[tuple[list[bytes], int]]:
    """Lines that hold something, some at a time, with the number of the first."""
    start = size = 0
    lines: list[bytes] = []
    for block in _whole(path):
        lines += filter(bytes.strip, block.split(b"\n"))
        size += len(block)
        if len(lines) >= ROWS or size >= BYTES:
            yield from _numbered(lines, start)
            start += len(lines)
            lines, size = [], 0
    yield from _numbered(lines, start)


def _numbered(lines: list[bytes], start: int) -> Iterator[tuple[list[bytes], int]]:
    for at in range(0, len(lines), ROWS):
        yield lines[at : at + ROWS], start + at


def _whole(path: Path) -> Iterator[bytes]:
    """A file in blocks that end where a line does."""
    rest = b""
    with stream(path) as content:
        while block := content.read(BLOCK):
            whole, end, begun = block.rpartition(b"\n")
            if end:
                yield rest + whole
                rest = b""
            rest += begun
            if len(rest) > LONGEST:
                msg = f"a line is longer than {LONGEST} bytes"
                raise pa.ArrowInvalid(msg)
    yield rest

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
    start = size = 0
    lines: list[bytes] = []
    with stream(path) as content:
        for line in _split(content):
            if line.strip():
                lines.append(line)
                size += len(line)
            if len(lines) == ROWS or size >= BYTES:
                yield lines, start
                start += len(lines)
                lines, size = [], 0
    if lines:
        yield lines, start


def _split(content: pa.NativeFile) -> Iterator[bytes]:
    rest: list[bytes] = []  # of a line whose end is still to come
    while block := content.read(BLOCK):
        first, *whole = block.split(b"\n")
        rest.append(first)
        if whole:
            yield b"".join(rest)
            yield from whole[:-1]
            rest = [whole[-1]]
        elif len(rest) * BLOCK > LONGEST:
            msg = f"a line is longer than {LONGEST} bytes"
            raise pa.ArrowInvalid(msg)
    if any(rest):
        yield b"".join(rest)

"""Lines of comma-separated values without a header: it is elsewhere, or the YAML names the columns in their order."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.messages import base
from tradewind_runtime.sources.messages.base import UnreadableError
from tradewind_runtime.sources.newcolumns import Columns

MARK = "__tradewind_mark"
ONE = "more than one line, or a quote that is not closed"


def decoder(source: Source, columns: Columns, access: Access) -> Decoder:
    """Of the columns that the YAML names."""
    del access
    assert source.kafka is not None
    return Decoder(columns, delimiter=source.kafka.delimiter, nulls=source.kafka.nulls)


class Decoder(base.Decoder):
    """Decodes one line a message; a mark behind each tells whether its last quote was closed."""

    def __init__(
        self, columns: Columns, *, delimiter: str, nulls: Sequence[str], header: Sequence[str] | None = None
    ) -> None:
        super().__init__(columns)
        names = [*(columns.schema.names if header is None else header), MARK]
        self._values = len(names) - 1
        self._mark = secrets.token_hex(16)  # or a producer could write it
        self._end = f"{delimiter}{self._mark}\n".encode()
        self._options = {
            "read_options": pcsv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 30),
            "parse_options": pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False),
            "convert_options": pcsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=list(nulls),
                strings_can_be_null=True, quoted_strings_can_be_null=False,
            ),
        }  # fmt: skip

    def _parts(self, messages: Sequence[bytes | None], refused: dict[int, str]) -> Iterator[base.Part]:
        yield from base.halved(base.present(messages, refused), self._read, self._reason, refused)

    def _read(self, lines: list[bytes]) -> pa.Table:
        blob = b"".join(line.rstrip(b"\r\n") + self._end for line in lines)
        try:
            table = pcsv.read_csv(pa.BufferReader(blob), **self._options)
        except pa.ArrowInvalid as error:
            raise UnreadableError(str(error)) from error
        if table.num_rows != len(lines) or not pc.all(pc.equal(table[MARK], self._mark)).as_py():
            raise UnreadableError(ONE)
        return table.drop_columns([MARK])

    def _reason(self, line: bytes, error: UnreadableError) -> str:
        found = re.search(r"got (\d+)", str(error))  # with the mark
        if found and b"\n" not in line.rstrip() and line.count(b'"') % 2 == 0:
            return f"not a line of {self._values} values: it has {int(found[1]) - 1}"
        return f"not a line of {self._values} values: {ONE if found else str(error)[:200]}"

"""Lines of comma-separated values without a header: the YAML names the columns, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pcsv

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.messages import base
from tradewind_runtime.sources.messages.base import UnreadableError


def decoder(source: Source, schema: pa.Schema, access: Access) -> Decoder:
    """Of the columns that the YAML names."""
    del access
    assert source.kafka is not None
    return Decoder(schema, delimiter=source.kafka.delimiter, nulls=source.kafka.nulls)


class Decoder(base.Decoder):
    """Decodes one line a message."""

    def __init__(self, schema: pa.Schema, *, delimiter: str, nulls: Sequence[str]) -> None:
        super().__init__(schema)
        self._options = {
            "read_options": pcsv.ReadOptions(column_names=schema.names, use_threads=False, block_size=1 << 30),
            "parse_options": pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False),
            "convert_options": pcsv.ConvertOptions(
                column_types={name: pa.string() for name in schema.names}, null_values=list(nulls),
                strings_can_be_null=True, quoted_strings_can_be_null=False,
            ),
        }  # fmt: skip

    def _parts(self, messages: Sequence[bytes | None], refused: dict[int, str]) -> Iterator[base.Part]:
        yield from base.halved(base.present(messages, refused), self._read, self._reason, refused)

    def _read(self, lines: list[bytes]) -> pa.Table:
        blob = b"\n".join(line.rstrip(b"\r\n") for line in lines) + b"\n"
        try:
            table = pcsv.read_csv(pa.BufferReader(blob), **self._options)
        except pa.ArrowInvalid as error:
            raise UnreadableError(str(error)) from error
        if table.num_rows != len(lines):
            raise UnreadableError("more or less than one line")
        return table

    def _reason(self, line: bytes, error: UnreadableError) -> str:
        del line
        return f"not a line of {len(self.schema)} values: {str(error)[:200]}"

"""Contents as they are: one column, `value`, of bytes or of the type that the YAML gives the one column it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.messages import base
from tradewind_runtime.sources.newcolumns import Columns


def decoder(source: Source, columns: Columns, access: Access) -> Decoder:
    """Its column is the first that is known, if any is."""
    del source, access
    return Decoder(columns)


class Decoder(base.Decoder):
    """Decodes nothing."""

    def _parts(self, messages: Sequence[bytes | None], refused: dict[int, str]) -> Iterator[base.Part]:
        contents = pa.array(messages, pa.binary())
        refused |= dict.fromkeys(np.flatnonzero(contents.is_null()).tolist(), base.TOMBSTONE)
        name = self.schema.names[0] if len(self.schema) else "value"
        yield pa.table({name: contents.drop_null()}), np.flatnonzero(contents.is_valid())

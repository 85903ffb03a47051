"""What one message holds, as typed columns: one module a format, each with a `Decoder`.

A new format is one word in `contract/sources.py` and one module here, of the same name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tradewind_runtime.sources.messages.base import Decoder

if TYPE_CHECKING:
    from tradewind_runtime.contract.sources import Source
    from tradewind_runtime.sources import Access
    from tradewind_runtime.sources.newcolumns import Columns


def decoder(source: Source, columns: Columns, access: Access) -> Decoder:
    """Of a Kafka source's format; its module is imported only now, with the libraries that it needs."""
    assert source.kafka is not None
    module = importlib.import_module(f"tradewind_runtime.sources.messages.{source.kafka.format}")
    found = module.decoder(source, columns, access)
    assert isinstance(found, Decoder)
    return found

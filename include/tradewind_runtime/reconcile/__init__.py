"""What a source still gives of what was committed of it, asked of the source itself.

A new kind is one module here, of its name, with `asked`, and its name in `KINDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.sources import Access

if TYPE_CHECKING:
    from tradewind_runtime.lake import Table

#: Those that keep what they gave.
KINDS = ("kafka", "objects")

Positions = npt.NDArray[np.int64]
NONE: Positions = np.empty(0, np.int64)


@dataclass(frozen=True)
class Asked:
    """One partition or object."""

    source: str  # as its rows name it
    given: Positions  # that it gives now, each once
    since: int = 0  # the first that it can still give
    until: int | None = None  # those from here on were not asked for
    unread: int = 0  # what it has besides: messages; of an object, 1 where this version of it is not in the table
    lasting: bool = True  # whether all that it ever gave since then is given now
    old: Positions = field(default_factory=lambda: NONE)  # given, of rows that retention takes away by their own time
    span: tuple[int, int] = (0, 0)  # those below have been taken away; between, those before the first that is left
    refusals: bool = True  # whether refused rows are among them; of an object, older versions' stay in quarantine


class Asking(Protocol):
    """What a module of this package offers."""

    def asked(self, source: Source, access: Access, table: Table, version: int | None) -> Iterator[Asked]:
        """Each partition, or each object that is there."""


def ask(source: Source, access: Access, table: Table, version: int | None) -> Iterator[Asked]:
    """Each partition or object of a source of one of the `KINDS`.

    Args:
        source: as its YAML has it.
        access: what it may use, a scratch folder among it.
        table: with its raw rows.
        version: of the table, whose positions count; None where there is none yet.

    Raises:
        StepError: where the source cannot be asked.
    """
    if source.on_new_columns == "strict":  # which is to stop runs, not who looks at what they took in
        source = source.model_copy(update={"new_columns": "ignore"})
    module = cast("Asking", importlib.import_module(f"{__name__}.{source.kind}"))
    return module.asked(source, access, table, version)

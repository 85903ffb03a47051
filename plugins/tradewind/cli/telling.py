"""What commands say alike: rows as a table, and a name that there is not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind_runtime.contract.errors import TradewindError


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of the same names, for people."""
    from rich.console import Console
    from rich.table import Table

    shown = Table()
    for name in rows[0]:
        shown.add_column(name)
    for row in rows:
        shown.add_row(*map(_told, row.values()))
    console = Console(markup=False)  # users' data and Arrow's types have brackets in them
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no width to cut a table to
    console.print(shown)


def _told(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def unknown(message: str, name: str, known: Collection[str], nothing: str = "none yet") -> TradewindError:
    """TW341: there is nothing of that name; with the nearest that there is.

    Args:
        message: what was looked for.
        name: as it was given.
        known: those that there are.
        nothing: what is said where there are none.
    """
    from tradewind.errors import Problem, TradewindError, nearest

    return TradewindError(
        Problem(
            code="TW341",
            message=message,
            got=name,
            expected=", ".join(known) or nothing,
            suggestion=nearest(name, known),
        )
    )

"""Objects in parts: some of them each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Table
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.objects import TOGETHER, Wanted, chunks, objects_of, replaced, wanted
from tradewind_runtime.sources.parts import Share


def shares(source: Source, access: Access, end: Mapping[str, str], table: Table, pieces: int) -> Iterator[Share]:
    """New objects many together, those that take the place of older versions one by one."""
    group: list[Wanted] = []
    for one in wanted(source, access, end, table):
        if group and not (one.new and group[0].new and len(group) < TOGETHER):
            yield _share(source, group, pieces)
            group = []
        group.append(one)
    if group:
        yield _share(source, group, pieces)


def _share(source: Source, group: Sequence[Wanted], pieces: int) -> Share:
    positions = {id: move for one in group for id, move in one.positions.items()}
    return Share(
        parts=[part for start in range(pieces) if (part := group[start::pieces])],
        positions=positions,
        marks={one.mark: positions[one.mark].after for one in group},
        replace=replaced(objects_of(source), group[0]),
    )


read = chunks  # their rows, in this order

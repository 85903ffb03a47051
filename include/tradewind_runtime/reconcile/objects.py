"""Objects of a store, or files: each version that was taken in and is still there is read once more, and counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.lake import Table
from tradewind_runtime.reconcile import NONE, Asked, Positions
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.files import Origin, open_rows
from tradewind_runtime.sources.objects import (
    DATE,
    Opened,
    Place,
    end_position,
    format_of,
    ids_of,
    in_place,
    objects_of,
)

CHANGED = "TW526"  # written again or gone since it was listed: its next version is to come
ANY_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def asked(source: Source, access: Access, table: Table, version: int | None) -> Iterator[Asked]:
    """Each object that is there, of whatever date."""
    named = objects_of(source)
    objects = named.model_copy(update={"uri": named.uri.replace(DATE, ANY_DATE)})
    source = source.model_copy(update={"objects": objects})
    end = end_position(source, access)
    ids = ids_of(objects, end)
    every = {id for pair in ids.values() for id in pair}
    now = dict.fromkeys(every) if version is None else table.positions(every, version)
    place = Place.of(objects, access)
    for key, (count, mark) in ids.items():
        waiting = Asked(key, NONE, unread=1, lasting=False)
        if not in_place(now, count, mark):
            yield waiting
            continue
        try:
            yield Asked(key, _numbers(Opened(place, key, end[key], access), source, table), refusals=False)
        except StepError as error:
            if error.problems[0].code != CHANGED:
                raise
            yield waiting


def _numbers(opened: Opened, source: Source, table: Table) -> Positions:
    """Of an object's rows that are good."""
    objects, key = objects_of(source), opened.key
    with opened as path:
        origin = Origin(key, "", 0)
        rows = open_rows(path, format_of(objects, key), source, nulls=objects.nulls, origin=origin, table=table)
        found = [np.asarray(batch.column("_position"), np.int64) for batch in opened.checked(rows.batches())]
    return np.concatenate([NONE, *found])

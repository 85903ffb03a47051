"""Objects of a store, or files: each version that was taken in and is still there is read once more, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

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

ANY_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def asked(source: Source, access: Access, table: Table) -> Iterator[Asked]:
    """Each object that is there, of whatever date."""
    named = objects_of(source)
    objects = named.model_copy(update={"uri": named.uri.replace(DATE, ANY_DATE)})
    source = source.model_copy(update={"objects": objects})
    end = end_position(source, access)
    ids = ids_of(objects, end)
    now = table.positions({id for pair in ids.values() for id in pair})
    place = Place.of(objects, access)
    for key, (count, mark) in ids.items():
        if in_place(now, count, mark):
            with Opened(place, key, end[key], access) as path:
                yield Asked(key, _numbers(path, key, source, table))
        else:
            yield Asked(key, NONE, unread=1, lasting=False)


def _numbers(path: Path, key: str, source: Source, table: Table) -> Positions:
    """Of an object's rows, refused or not."""
    objects = objects_of(source)
    rows = open_rows(path, format_of(objects, key), source, nulls=objects.nulls, origin=Origin(key, "", 0), table=table)
    found = [np.asarray(batch.column("_position"), np.int64) for batch in rows.batches()]
    return np.concatenate([*found, np.array([bad.position for bad in rows.bad], np.int64)])

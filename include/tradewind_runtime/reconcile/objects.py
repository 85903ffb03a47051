"""Objects of a store, or files: each version that was taken in and is still there is read once more, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from tradewind_runtime.contract import dates
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import STORES, Source
from tradewind_runtime.lake import Table
from tradewind_runtime.reconcile import NONE, Asked, Positions
from tradewind_runtime.reconcile.retained import END, Retained
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.columns import known
from tradewind_runtime.sources.files import Origin, open_rows
from tradewind_runtime.sources.newcolumns import Columns
from tradewind_runtime.sources.objects import dialect_of, end_position, format_of, ids_of, in_place, objects_of
from tradewind_runtime.sources.stores import Place
from tradewind_runtime.sources.stores.pinned import CHANGED, Pinned, fetched


def asked(source: Source, access: Access, table: Table, version: int | None) -> Iterator[Asked]:
    """Each object that is there, of whatever date."""
    named = objects_of(source)
    objects = named.model_copy(update={"uri": dates.of_any_day(named.uri)})
    if dates.dated(named.uri) and STORES.get(urlsplit(named.uri).scheme) == "http":
        return  # a web server lists nothing, and dates of what is not known to be there are not guessed
    source = source.model_copy(update={"objects": objects})
    end = end_position(source, access)
    ids = ids_of(objects, end)
    every = {id for pair in ids.values() for id in pair}
    now = dict.fromkeys(every) if version is None else table.positions(every, version)
    place = Place.of(objects.uri, access)
    retained = Retained.of(access.lake, table, version)
    commits = retained.commits({count for count, _ in ids.values()})
    for key, (count, mark) in ids.items():
        waiting = Asked(key, NONE, unread=1, lasting=False)
        if not in_place(now, count, mark):
            yield waiting
            continue
        try:
            (file,) = fetched(place, [(key, end[key])], access.scratch)
            if file.changed:
                raise file.changed
            given, old = _numbers(file, source, retained)
            yield Asked(key, given, old=old, span=_span(commits[count], now[count]), refusals=False)
        except StepError as error:
            if error.problems[0].code != CHANGED:
                raise
            yield waiting  # written again or gone since it was listed: its next version is to come


def _span(committed: tuple[int, int], count: int | None) -> tuple[int, int]:
    """All of a version of an object is committed at once; the table has the one of this number."""
    low, high = committed
    if count is None or high != count:
        return 0, 0
    return END if low == count else 0, END


def _numbers(file: Pinned, source: Source, retained: Retained) -> tuple[Positions, Positions]:
    """Of an object's rows that are good; and of those among them that are older than their table keeps them."""
    objects, columns = objects_of(source), Columns.of(source, known(source, retained.raw.snapshot().schema))
    rows = open_rows(
        file.path, format_of(objects, file.key), columns, dialect=dialect_of(objects), origin=Origin(file.key, "", 0)
    )
    found, old = [NONE], [NONE]
    for batch in rows.batches():
        found.append(np.asarray(batch.column("_position"), np.int64))
        old.append(np.asarray(retained.old(pa.Table.from_batches([batch]))["_position"], np.int64))
    file.check()
    file.forget()
    return np.concatenate(found), np.concatenate(old)

"""Objects of a store, or files: each version that was taken in and is still there is read once more, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import STORES, Source
from tradewind_runtime.lake import Table
from tradewind_runtime.reconcile import NONE, Asked, Positions
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.files import Origin, open_rows
from tradewind_runtime.sources.objects import DATE, end_position, format_of, ids_of, in_place, objects_of
from tradewind_runtime.sources.stores import Place
from tradewind_runtime.sources.stores.pinned import Pinned, fetched

CHANGED = "TW526"  # written again or gone since it was listed: its next version is to come
ANY_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def asked(source: Source, access: Access, table: Table, version: int | None) -> Iterator[Asked]:
    """Each object that is there, of whatever date."""
    named = objects_of(source)
    objects = named.model_copy(update={"uri": named.uri.replace(DATE, ANY_DATE)})
    if DATE in named.uri and STORES.get(urlsplit(named.uri).scheme) == "http":
        return  # a web server lists nothing, and dates of what is not known to be there are not guessed
    source = source.model_copy(update={"objects": objects})
    end = end_position(source, access)
    ids = ids_of(objects, end)
    every = {id for pair in ids.values() for id in pair}
    now = dict.fromkeys(every) if version is None else table.positions(every, version)
    place = Place.of(objects.uri, access)
    for key, (count, mark) in ids.items():
        waiting = Asked(key, NONE, unread=1, lasting=False)
        if not in_place(now, count, mark):
            yield waiting
            continue
        try:
            (file,) = fetched(place, [(key, end[key])], access.scratch)
            yield Asked(key, _numbers(file, source, table), refusals=False)
        except StepError as error:
            if error.problems[0].code != CHANGED:
                raise
            yield waiting


def _numbers(file: Pinned, source: Source, table: Table) -> Positions:
    """Of an object's rows that are good."""
    objects = objects_of(source)
    rows = open_rows(
        file.path, format_of(objects, file.key), source, nulls=objects.nulls, origin=Origin(file.key, "", 0),
        have=table.snapshot().schema,
    )  # fmt: skip
    found = [np.asarray(batch.column("_position"), np.int64) for batch in rows.batches()]
    file.check()
    file.forget()
    return np.concatenate([NONE, *found])

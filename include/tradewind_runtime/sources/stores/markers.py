"""Markers of folders: a console's "create folder" puts an empty object whose key ends in `/`.

Obstore gives its key without that `/`, so that only asking for the object by it tells it from an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from obstore.exceptions import NotFoundError

AT_ONCE = 16  # requests


class Store(Protocol):
    """What is asked."""

    def head(self, path: str) -> Mapping[str, Any]: ...  # noqa: D102


def objects(store: Store, found: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Those of a listing that are there by their keys."""

    def is_there(meta: Mapping[str, Any]) -> bool:
        try:
            return not store.head(meta["path"])["size"]  # else it is another, beside the marker
        except (NotFoundError, FileNotFoundError):
            return False

    empty = [meta for meta in found if not meta["size"]]
    markers: set[int] = set()
    if empty:
        with ThreadPoolExecutor(min(len(empty), AT_ONCE), "markers") as pool:
            markers = {id(meta) for meta, there in zip(empty, pool.map(is_there, empty), strict=True) if not there}
    yield from (meta for meta in found if id(meta) not in markers)

"""Objects of a store, or files of a folder: each version of each object once, in one commit of its own.

An object's version is its ETag (S3) or its size and time (files). In the table, `object:<key>` counts the
versions of a key that were taken in, and `object:<key>@<version>` is that count at the time: the version whose
number is its key's is in place. So an object that was written again, even back to what it once was, is read again
and its rows take the place of the older ones. With `mode: replace` one object, the newest, holds the whole table.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
import pyarrow as pa
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from tradewind_runtime.connections import store_options
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import ObjectsSource, Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Table
from tradewind_runtime.replacing import Replace
from tradewind_runtime.sources import Access, Chunk
from tradewind_runtime.sources.files import FORMATS, Origin, open_rows

_WILD = re.compile(r"[*?\[]")
DATE = "{window.date}"

log = logging.getLogger("tradewind")


def end_position(source: Source, access: Access) -> dict[str, str]:
    """The objects that match now, and their versions; with `mode: replace` the newest alone."""
    objects = objects_of(source)
    place = Place.of(objects, access)
    found = {key: meta for pattern in _patterns(objects, access) for key, meta in place.matching(pattern)}
    if objects.mode == "replace" and found:
        newest = max(found, key=lambda key: (found[key]["last_modified"], key))
        found = {newest: found[newest]}
    return {key: place.version(found[key]) for key in sorted(found)}


def read(source: Source, access: Access, end: Mapping[str, str], table: Table) -> Iterator[Chunk]:
    """Each pinned object that is not in place, as one chunk."""
    objects = objects_of(source)
    place = Place.of(objects, access)
    ids = ids_of(objects, end)
    now = table.positions({id for pair in ids.values() for id in pair})
    for key, (count, mark) in ids.items():
        if in_place(now, count, mark):
            continue
        after = (now[count] or 0) + 1
        log.info("reading %s", key)
        origin = Origin(key, mark, (now[mark] or 0))
        opened = Opened(place, key, end[key], access)
        with opened as path:
            rows = open_rows(path, format_of(objects, key), source, nulls=objects.nulls, origin=origin, table=table)
            yield Chunk(
                schema=rows.schema,
                rows=opened.checked(rows.batches()),
                bad=rows.bad,
                positions={count: Advance(now[count], after), mark: Advance(now[mark], after)},
                marks={mark: after},
                replace=_replace(objects, key, now[count]),
            )
        now[count] = after


def ids_of(objects: ObjectsSource, end: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The transactions of each pinned version: that of its key (of all, where one object is the table) and its own."""
    shared = objects.mode == "replace"
    return {key: ("objects" if shared else f"object:{key}", f"object:{key}@{at}") for key, at in end.items()}


def in_place(now: Mapping[str, int | None], count: str, mark: str) -> bool:
    """Whether a version is what the table has of its object."""
    return now[mark] is not None and now[mark] == now[count]


def _replace(objects: ObjectsSource, key: str, count: int | None) -> Replace | str | None:
    if objects.mode == "replace":
        return "all"
    return Replace("_source", key, key + "\0") if count else None


@dataclass(frozen=True)
class Place:
    """A store and the key in it that patterns start from."""

    store: ObjectStore
    root: Path | None  # of a folder

    @classmethod
    def of(cls, objects: ObjectsSource, access: Access) -> Place:
        """Where a source's objects are."""
        parts = urlsplit(objects.uri)
        if parts.scheme == "file":
            return cls(LocalStore("/"), Path("/"))
        if not parts.scheme:
            root = access.project or Path.cwd()
            return cls(LocalStore(root), root)
        return cls(from_url(f"{parts.scheme}://{parts.netloc}", **store_options(access.connection)), None)

    def matching(self, pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Keys that match, with what the store says of each."""
        try:
            wild = _WILD.search(pattern)
            if wild is None:
                yield pattern, obstore.head(self.store, pattern)
                return
            folder = pattern[: wild.start()].rpartition("/")[0]
            wanted = _regex(pattern)
            for batch in obstore.list(self.store, folder or None):
                yield from ((meta["path"], meta) for meta in batch if wanted.fullmatch(meta["path"]))
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise StepError(
                "TW525",
                f"the store cannot be listed: {_first_line(error)}",
                got=pattern,
                fix="see the connection, and whether the bucket exists",
            ) from error

    def version(self, meta: Mapping[str, Any]) -> str:
        """What changes when the object does."""
        if self.root is None and meta["e_tag"]:
            return str(meta["e_tag"]).strip('"')
        return f"{meta['size']}-{int(meta['last_modified'].timestamp() * 1e6)}"


@dataclass(frozen=True)
class Opened:
    """A pinned object as a file of this machine, of that version and no other."""

    place: Place
    key: str
    version: str
    access: Access

    def __enter__(self) -> Path:
        self._check()
        if self.place.root is not None:
            return self.place.root / self.key
        assert self.access.scratch is not None, "an object of a store is read from a scratch folder"
        path = self.access.scratch / PurePosixPath(self.key).name
        try:
            found = obstore.get(self.place.store, self.key)
            if self.place.version(found.meta) != self.version:
                raise self._changed("changed")
            with path.open("wb") as file:
                for block in found.stream(min_chunk_size=8 * 1024 * 1024):
                    file.write(block)
        except (NotFoundError, FileNotFoundError) as error:
            raise self._changed("vanished") from error
        except (BaseError, OSError) as error:
            raise StepError("TW525", f"{self.key} cannot be read: {_first_line(error)}", fix="try again") from error
        return path

    def __exit__(self, *_: object) -> None:
        if self.place.root is None and self.access.scratch is not None:
            (self.access.scratch / PurePosixPath(self.key).name).unlink(missing_ok=True)

    def checked(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows of which the last is given only if the object has not changed under our hands."""
        yield from batches
        self._check()

    def _check(self) -> None:
        """A file is read where it lies, so it is looked at before and after."""
        if self.place.root is None:
            return
        try:
            if self.place.version(obstore.head(self.place.store, self.key)) != self.version:
                raise self._changed("changed")
        except (NotFoundError, FileNotFoundError) as error:
            raise self._changed("vanished") from error

    def _changed(self, how: str) -> StepError:
        return StepError(
            "TW526",
            f"{self.key} {how} after the run was pinned to it",
            retryable=False,
            expected=f"version {self.version}",
            fix="start a new run, which pins what is there now; write objects once, under a new name each",
        )


def objects_of(source: Source) -> ObjectsSource:
    """A source of this kind."""
    assert source.objects is not None
    return source.objects


def _patterns(objects: ObjectsSource, access: Access) -> list[str]:
    """Keys or globs below the store's root, one for each date of the window where the URI wants one.

    Raises:
        StepError: TW514 where it wants dates and the run has no window.
    """
    parts = urlsplit(objects.uri)
    path = objects.uri if not parts.scheme else objects.uri.partition("://")[2].removeprefix(parts.netloc)
    if parts.scheme == "file":
        path = unquote(path)
    path = re.sub(r"^(\./|/)+", "", path)
    if DATE not in path:
        return [path]
    if access.window is None:
        raise StepError("TW514", f"{objects.uri} wants dates, and the run has no window", retryable=False)
    return [path.replace(DATE, day.isoformat()) for day in access.window.dates()]


def _regex(pattern: str) -> re.Pattern[str]:
    """A glob over keys: `*` and `?` stay within a folder, `**` does not, `[…]` is a set."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    return re.compile("".join(words.get(part) or _literal(part) for part in parts if part))


def _literal(part: str) -> str:
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        inner = part[1:-1].replace("\\", r"\\")
        return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(part)


def format_of(objects: ObjectsSource, key: str) -> str:
    """How an object is written.

    Raises:
        StepError: TW527 where neither the YAML nor its name says it.
    """
    if objects.format:
        return objects.format
    suffixes: Iterable[str] = [suffix.lower() for suffix in PurePosixPath(key).suffixes]
    found = [FORMATS[suffix] for suffix in suffixes if suffix in FORMATS]
    if not found:
        raise StepError(
            "TW527",
            f"what {key} holds cannot be told by its name",
            retryable=False,
            expected=", ".join(sorted(FORMATS)),
            fix="set objects.format",
        )
    return found[-1]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]

"""Objects that a run is pinned to, as files of this machine: of that version and no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any

from obstore.exceptions import BaseError, NotFoundError

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.files.base import COMPRESSED
from tradewind_runtime.sources.stores import Place

CHANGED = "TW526"
AHEAD = 8  # objects that are on their way while one is read
SMALL = 32 * 1024 * 1024  # bytes of one that is brought before its turn: a connection alone is slow
PIECE = 1024 * 1024  # bytes of each that are in memory at once


@dataclass(frozen=True)
class Pinned:
    """One object, and where it lies here."""

    place: Place
    key: str
    version: str
    path: Path
    size: int = 0
    changed: StepError | None = None  # it is not what was pinned

    def fetch(self, most: int | None = None, unless: Event | None = None) -> int | None:
        """Bring it here; its size, or None where that is above `most` and it was left there, or it is wanted no more.

        Raises:
            StepError: TW526 where it is not what was pinned, TW525 where the store does not give it.
        """
        if unless is not None and unless.is_set():
            return None
        try:
            with closing(self.place.store.get(self.key)) as found:
                if self.place.version(found.meta) != self.version:
                    raise self._changed("changed")
                if most is not None and int(found.meta["size"]) > most:
                    return None
                size = self._written(found.stream(min_chunk_size=PIECE), most, unless)
                if size is not None and found.meta["size"] not in (0, size):  # it need not be told
                    msg = f"{size} of {found.meta['size']} bytes came"
                    raise OSError(msg)
                return size
        except (NotFoundError, FileNotFoundError):
            raise self._changed("vanished") from None
        except (BaseError, OSError) as error:
            said = self.place.said(error)  # without a signature, which the error may hold
            raise StepError("TW525", f"{self.key} cannot be read: {said}", fix="try again") from None

    def _written(self, blocks: Iterable[Any], most: int | None, unless: Event | None) -> int | None:
        """How many bytes there were: a web server need not say it before, so `most` is seen to here too."""
        size = 0
        with self.path.open("wb") as file:
            for block in blocks:
                size += file.write(block)
                if (most is not None and size > most) or (unless is not None and unless.is_set()):
                    return None
        return size

    def check(self) -> int | None:
        """A file is read where it lies, so it is looked at before and after; its size.

        Raises:
            StepError: TW526 where it is not what was pinned.
        """
        if self.place.root is None:
            return None
        try:
            found = self.place.store.head(self.key)
        except (FileNotFoundError, NotADirectoryError):
            raise self._changed("vanished") from None
        if self.place.version(found) != self.version:
            raise self._changed("changed")
        return int(found["size"])

    def forget(self) -> None:
        """Remove what was brought here."""
        if self.place.root is None:
            self.path.unlink(missing_ok=True)

    def _changed(self, how: str) -> StepError:
        return StepError(
            CHANGED,
            f"{self.key} {how} after the run was pinned to it",
            retryable=False,
            expected=f"version {self.version}",
            fix="start a new run, which pins what is there now; write objects once, under a new name each",
        )


def fetched(
    place: Place, pins: Iterable[tuple[str, str]], folder: Path | None, ended: Event | None = None
) -> Generator[Pinned, None, None]:
    """Objects in their order, the next small ones being on their way already.

    Args:
        place: where they are.
        pins: their keys and versions.
        folder: where they are brought; files are read where they lie.
        ended: once it is set, nothing more is given, and what is on its way is not waited for.

    Raises:
        StepError: TW525, once all before it have been given; one that has changed is given, and says so.
    """
    ended = ended or Event()
    if place.root is not None:
        for key, version in pins:
            if ended.is_set():
                return
            one = Pinned(place, key, version, place.root / key)
            if (found := _looked_at(one, one.check)) is not None:
                yield found
        return
    assert folder is not None, "an object of a store is read from a scratch folder"
    coming: deque[tuple[Pinned, Future[int | None]]] = deque()
    pool, numbered = ThreadPoolExecutor(AHEAD, "fetching"), enumerate(pins)
    try:
        while not ended.is_set():
            for number, (key, version) in islice(numbered, AHEAD - len(coming)):
                one = Pinned(place, key, version, folder / f"{number}{_ending(key)}")
                coming.append((one, pool.submit(one.fetch, SMALL, ended)))
            if not coming:
                return
            one, small = coming.popleft()
            found = _looked_at(one, small.result) or _looked_at(one, partial(one.fetch, None, ended))
            if found is not None:
                yield found
    finally:  # nobody waits for what is not wanted any more
        ended.set()
        pool.shutdown(cancel_futures=True)


def _looked_at(one: Pinned, size: Callable[[], int | None]) -> Pinned | None:
    """With its size, or how it has changed; None where neither is known yet."""
    try:
        found = size()
    except StepError as error:
        if error.problems[0].code != CHANGED:
            raise
        return replace(one, changed=error)
    return None if found is None else replace(one, size=found)


def _ending(key: str) -> str:
    """What says how it is compressed; the rest of its name may be of any length, and another's too."""
    suffix = PurePosixPath(key).suffix.lower()
    return suffix if suffix in COMPRESSED else ""

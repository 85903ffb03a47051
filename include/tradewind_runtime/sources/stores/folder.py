"""Files of this machine, each under its own name, whatever that is; links are what they lead to."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, NoReturn

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger("tradewind")


@dataclass(frozen=True)
class Folder:
    """A folder as a store; obstore's own has names that it does not list, and others that it stops at."""

    root: Path

    def head(self, path: str) -> Mapping[str, Any]:
        """What there is to say of a file.

        Raises:
            FileNotFoundError: where there is none.
        """
        found = os.stat(f"{self.root}/{path}")  # a Path of each of many would take longer than this does
        if not S_ISREG(found.st_mode):
            raise FileNotFoundError(path)
        return _meta(path, found)

    def get(self, path: str) -> NoReturn:
        """It is read where it lies."""
        msg = f"{path} is a file already"
        raise OSError(msg)

    def list(self, prefix: str | None = None) -> Iterator[Sequence[Mapping[str, Any]]]:
        """All files below.

        Raises:
            FileNotFoundError: where the first folder is not there.
        """
        waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(prefix or "", frozenset())]
        while waiting:
            folder, above = waiting.pop()
            try:
                found = self.root.joinpath(folder).stat()
                own = (found.st_dev, found.st_ino)
                if own in above:
                    log.warning("%s is left out: it leads back to a folder above it", folder)
                    continue
                for key, entry in _entries(self.root, folder):
                    if S_ISDIR(entry.st_mode):
                        waiting.append((key, above | {own}))
                    elif S_ISREG(entry.st_mode):
                        yield [_meta(key, entry)]
            except FileNotFoundError:
                if not above:  # else it was removed meanwhile
                    raise

    def inside(self, prefix: str | None = None) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Files right in a folder.

        Raises:
            FileNotFoundError: where it is not there.
        """
        for key, entry in _entries(self.root, prefix or ""):
            if S_ISREG(entry.st_mode):
                yield [_meta(key, entry)]


def _entries(root: Path, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(root / folder) as entries:
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            try:
                found = entry.stat()
            except FileNotFoundError:  # a link to nothing, or removed meanwhile
                continue
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                log.warning("%s is left out: it is a link that leads to itself", key)
                continue
            yield key, found


def _meta(path: str, found: os.stat_result) -> Mapping[str, Any]:
    time = EPOCH + timedelta(microseconds=found.st_mtime_ns // 1000)
    return {"path": path, "size": found.st_size, "last_modified": time, "e_tag": None, "version": None}

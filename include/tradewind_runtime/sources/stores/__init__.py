"""Stores by the scheme of an address: a new one is one module here, and one line of `STORES` in contract/sources.py."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import SplitResult, urlsplit

from obstore.exceptions import BaseError, InvalidPathError, NotFoundError

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.keys import WILD, regex
from tradewind_runtime.contract.sources import STORES
from tradewind_runtime.sources.stores.folder import Folder
from tradewind_runtime.sources.stores.markers import objects


class Content(Protocol):
    """An object that is being read, and then closed."""

    @property
    def meta(self) -> Mapping[str, Any]: ...  # noqa: D102
    def stream(self, min_chunk_size: int) -> Iterable[Any]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Store(Protocol):
    """What is asked of a `Bucket` of obstore's, or of another."""

    def head(self, path: str) -> Mapping[str, Any]: ...  # noqa: D102
    def get(self, path: str) -> Content: ...  # noqa: D102
    def list(self, prefix: str | None = None) -> Iterable[Sequence[Mapping[str, Any]]]: ...  # noqa: D102
    def inside(self, prefix: str | None = None) -> Iterable[Sequence[Mapping[str, Any]]]: ...  # noqa: D102


class Opener(Protocol):
    """What a module of this package offers."""

    #: Types of Airflow's connections that it knows.
    TYPES: frozenset[str]

    def opened(self, address: SplitResult, connection: Connection | None) -> Store:
        """The bucket, container or host of an address; without a connection, as this machine may."""


class Reach(Protocol):
    """What a store is reached by: of an `Access`, or of a `Way`."""

    @property
    def connection(self) -> Connection | None: ...  # noqa: D102
    @property
    def project(self) -> Path | None: ...  # noqa: D102


@dataclass(frozen=True)
class Place:
    """A store and the key in it that patterns start from."""

    store: Store
    root: Path | None = None  # of a folder
    connection: Connection | None = None

    @classmethod
    def of(cls, uri: str, access: Reach) -> Place:
        """Where an address leads.

        Raises:
            StepError: TW525 where its connection cannot open it.
        """
        address = urlsplit(uri)
        if address.scheme == "file":
            return cls(Folder(Path("/")), Path("/"))
        if not address.scheme:
            root = access.project or Path.cwd()
            return cls(Folder(root), root)
        return cls(_opened(address, access.connection), connection=access.connection)

    def matching(self, pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Keys that match, with what the store says of each.

        Raises:
            StepError: TW525 where the store does not answer, or refuses.
        """
        wild = WILD.search(pattern)
        try:
            if wild is None:
                yield pattern, self.store.head(pattern)
                return
            yield from ((meta["path"], meta) for meta in self._listed(pattern, wild.start()))
        except (NotFoundError, FileNotFoundError, NotADirectoryError) as error:
            if wild is not None and self.root is None:  # no object may be there, but the bucket must
                raise self._silent(pattern, error) from None
        except InvalidPathError as error:
            raise self._unnamed(pattern, _key_in(error), "an empty part, . or .., or a control character") from None
        except ValueError as error:
            raise StepError(
                "TW525", f"no object has such a key: {self.said(error)}", retryable=False, got=pattern,
                fix="mend the uri",
            ) from None  # fmt: skip
        except (BaseError, OSError) as error:
            raise self._silent(pattern, error) from None

    def _listed(self, pattern: str, fixed: int) -> Iterator[Mapping[str, Any]]:
        """What matches below the folder that the fixed beginning of a glob names."""
        folder, wanted = pattern[:fixed].rpartition("/")[0], regex(pattern)
        deep = "/" in pattern[fixed:] or "**" in pattern
        for batch in (self.store.list if deep else self.store.inside)(folder or None):
            found = [meta for meta in batch if wanted.fullmatch(meta["path"])]
            if self.root is None:
                yield from objects(self.store, found)
                continue
            for meta in found:
                if not _utf8(meta["path"]):
                    raise self._unnamed(pattern, repr(os.fsencode(meta["path"]))[1:], "what is not UTF-8")
                yield meta

    def _unnamed(self, pattern: str, key: str, why: str) -> StepError:
        where = "rename it" if self.root is not None else "move it to another prefix"
        key = self.connection.hide(key) if self.connection else key
        return StepError(
            "TW525", f"the key {key} has in it {why}: no run can name it, nor look past it", retryable=False,
            got=pattern, fix=f"{where}, or have more of the uri before its first *, so that it is not looked at",
        )  # fmt: skip

    def _silent(self, pattern: str, error: Exception) -> StepError:
        """The error itself stays out: it may hold a signature."""
        return StepError(
            "TW525",
            f"the store cannot be listed: {self.said(error)}",
            got=pattern,
            fix="see the connection, and whether the bucket exists",
        )

    def version(self, meta: Mapping[str, Any]) -> str:
        """What changes when the object does.

        Raises:
            StepError: TW525 where the store tells nothing that would.
        """
        if self.root is None and meta["e_tag"]:
            return str(meta["e_tag"]).strip('"')
        if self.root is None and meta["last_modified"].timestamp() <= 0:
            raise StepError(
                "TW525", f"{meta['path']} has neither an ETag nor a time, so no run can be pinned to it",
                retryable=False, fix="have its server send ETag or Last-Modified",
            )  # fmt: skip
        return f"{meta['size']}-{int(meta['last_modified'].timestamp() * 1e6)}"

    def said(self, error: Exception) -> str:
        """A store's own words, in short."""
        return _said(error, self.connection)


def _opened(address: SplitResult, connection: Connection | None) -> Store:
    module = cast("Opener", importlib.import_module(f"tradewind_runtime.sources.stores.{STORES[address.scheme]}"))
    if connection is not None and connection.type not in {"", "generic", *module.TYPES}:
        raise StepError(
            "TW525", f"no {address.scheme}:// is opened by a connection of type {connection.type!r}", retryable=False,
            expected=" or ".join(sorted(module.TYPES)), fix="name another connection, or mend its type",
        )  # fmt: skip
    try:
        return module.opened(address, connection)
    except (BaseError, ValueError) as error:
        raise StepError(
            "TW525", f"the connection does not open {address.scheme}://{address.hostname}: {_said(error, connection)}",
            retryable=False, fix="mend the connection",
        ) from None  # fmt: skip


def _utf8(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key_in(error: InvalidPathError) -> str:
    """The key that obstore cannot parse, in quotes; its details have it in one line, whatever it is."""
    found = re.search(r'path: ("(?:[^"\\]|\\.)*")', str(error))
    return found[1] if found else str(error).partition("\n")[0]


def _said(error: Exception, connection: Connection | None) -> str:
    text = str(error).partition("\n")[0]
    return (connection.hide(text) if connection else text)[:300]

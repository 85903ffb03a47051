"""A store of obstore's as one of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from obstore.exceptions import InvalidPathError

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ObjectStore


@dataclass(frozen=True)
class Bucket:
    """A bucket, or a container."""

    store: ObjectStore

    def head(self, path: str) -> Mapping[str, Any]:
        """What it says of an object."""
        return self.store.head(path)

    def get(self, path: str) -> Blob:
        """An object, to be streamed."""
        return Blob(self.store.get(path))

    def list(self, prefix: str | None = None) -> Iterable[Sequence[Mapping[str, Any]]]:
        """Objects, in batches."""
        return self.store.list(prefix)

    def inside(self, prefix: str | None = None) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Objects right in a folder, in batches; one may come twice.

        Raises:
            InvalidPathError: where one of them has a key that obstore cannot say. What is deeper may have any.
        """
        try:
            yield from self.store.list(prefix)
        except InvalidPathError:
            yield self.store.list_with_delimiter(prefix)["objects"]


@dataclass(frozen=True)
class Blob:
    """An object that is being read."""

    found: GetResult

    @property
    def meta(self) -> Mapping[str, Any]:
        """What tells one version from another."""
        return self.found.meta

    def stream(self, min_chunk_size: int) -> Iterable[Any]:
        """Its content, in blocks of such a size."""
        return self.found.stream(min_chunk_size=min_chunk_size)

    def close(self) -> None:
        """Obstore lets go of it by itself."""

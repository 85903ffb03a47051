"""Documents of the lake: small JSON, each created once, by the one write that every store makes atomic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url
from pydantic import BaseModel

Document = TypeVar("Document", bound=BaseModel)


class Documents:
    """A key-value view of a store, below one root.

    Args:
        root: `file:///…` or `s3://bucket/prefix`.
        options: obstore's client options for a remote store (endpoint, key id, secret, region).
    """

    def __init__(self, root: str, options: Mapping[str, Any] | None = None) -> None:
        self.root = root.rstrip("/")
        if urlsplit(root).scheme == "file":
            self.store: ObjectStore = LocalStore(unquote(urlsplit(root).path), mkdir=True)
        else:
            self.store = from_url(root, **dict(options or {}))

    def create(self, path: str, content: bytes) -> bool:
        """Write unless it is there. True for the one writer that made it."""
        try:
            obstore.put(self.store, path, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def put(self, path: str, content: bytes) -> None:
        """Write, over what is there: only for what has one writer, such as a replica's status."""
        obstore.put(self.store, path, content)

    def get(self, path: str) -> bytes | None:
        """The content, or None where there is nothing."""
        try:
            return bytes(obstore.get(self.store, path).bytes())
        except (NotFoundError, FileNotFoundError):
            return None

    def names(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """Paths below a folder, in order of their names; only those after a known one."""
        found = [str(item["path"]) for batch in obstore.list(self.store, prefix, offset=after) for item in batch]
        yield from sorted(found)

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right below a folder, without looking into them."""
        found = obstore.list_with_delimiter(self.store, prefix)["common_prefixes"]
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def delete(self, path: str) -> None:
        """Remove what is there, if it is."""
        try:
            obstore.delete(self.store, path)
        except (NotFoundError, FileNotFoundError):
            return

    def create_model(self, path: str, document: BaseModel) -> bool:
        """`create` a pydantic document."""
        return self.create(path, document.model_dump_json(by_alias=True, indent=1).encode())

    def get_model(self, path: str, kind: type[Document]) -> Document | None:
        """The document, validated, or None where there is none."""
        content = self.get(path)
        return None if content is None else kind.model_validate_json(content)

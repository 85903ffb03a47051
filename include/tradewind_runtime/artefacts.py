"""A trained model at rest: files and our own manifest at `models/<digest>`, verified before any use.

The digest is that of the manifest, which names every file with its SHA-256 and holds no time and no random id:
the same training gives the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from tradewind_runtime.contract.base import Frozen, canonical
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ArtefactRef
from tradewind_runtime.documents import Documents


class Manifest(Frozen):
    """What an artefact is. `features` are in the order of the model's matrix."""

    framework: str
    task: str
    features: tuple[str, ...]
    label: str | None = None
    classes: tuple[str | int | float | bool, ...] = ()
    trained_until: str | None = Field(None, description="Rows from this time on were not learnt from; ISO, UTC.")
    trained_split: str | None = Field(None, description="Of a random split: which rows were not learnt from.")
    files: dict[str, str] = Field(min_length=1, description="Name → SHA-256.")

    @property
    def digest(self) -> str:
        """The artefact's name."""
        return hashlib.sha256(canonical(self.model_dump(mode="json"))).hexdigest()


@dataclass(frozen=True)
class Artefact:
    """A verified artefact, in memory: what was hashed is what is used."""

    digest: str
    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)


def artefact_path(digest: str, name: str) -> str:
    """Where a file of an artefact lies, below the lake."""
    return f"models/{digest}/{name}"


def save(documents: Documents, folder: Path, manifest_fields: Mapping[str, Any]) -> ArtefactRef:
    """Put a folder's files into the lake. Doing so twice is harmless: each file is created once.

    Args:
        documents: of the lake.
        folder: holds the model's files, those of subfolders too.
        manifest_fields: `framework`, `task`, `features`, `label`, `classes`, `trained_until`, `trained_split`.
    """
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    manifest = Manifest(**manifest_fields, files={name: _hash(content) for name, content in contents.items()})
    for name, content in contents.items():
        path = artefact_path(manifest.digest, name)
        if not documents.create(path, content) and documents.get(path) != content:
            documents.put(path, content)  # damaged there: the name says what it must be
    # The manifest comes last: where it is, the files are.
    documents.create(artefact_path(manifest.digest, "manifest.json"), canonical(manifest.model_dump(mode="json")))
    return ArtefactRef(digest=manifest.digest, framework=manifest.framework)


def manifest(documents: Documents, digest: str) -> Manifest:
    """The verified manifest alone.

    Raises:
        StepError: TW560 where it is missing or not what the digest says.
    """
    content = documents.get(artefact_path(digest, "manifest.json"))
    if content is None:
        raise StepError("TW560", f"the lake has no artefact {digest[:12]}", fix="train and register it again")
    try:
        found = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise _tampered(digest, "manifest.json", str(error.errors()[0]["msg"])) from error
    if found.digest != digest:
        raise _tampered(digest, "manifest.json", found.digest)
    return found


def load(documents: Documents, digest: str) -> Artefact:
    """An artefact, every byte of it hashed before it is used.

    Raises:
        StepError: TW560 where something is missing or is not what the digest says.
    """
    found = manifest(documents, digest)
    files = {}
    for name, expected in found.files.items():
        content = documents.get(artefact_path(digest, name))
        actual = None if content is None else _hash(content)
        if content is None or actual != expected:
            raise _tampered(digest, name, actual)
        files[name] = content
    return Artefact(digest, found, files)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tampered(digest: str, name: str, got: str | None) -> StepError:
    return StepError(
        "TW560",
        f"{name} of artefact {digest[:12]} is {'missing' if got is None else 'not what its digest says'}",
        retryable=got is None,
        got=got,
        expected="the file that was saved at training",
        fix="do not use it: find out who changed it, and train again with --refresh",
    )

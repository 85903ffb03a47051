"""What a step is given besides its request: the lake, connections, user code and a folder to work in."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tradewind_runtime import gone
from tradewind_runtime.connections import Connection, connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ArtefactRef, DatasetRef, ModelRef, ValueRef
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.snapshot import Snapshot

Ref = TypeVar("Ref", DatasetRef, ArtefactRef, ModelRef, ValueRef)
log = logging.getLogger("tradewind")


@dataclass
class Notes:
    """What a step knows of itself before it has an outcome: beside that in its result, and links where it fails too."""

    facts: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StepContext:
    """Handed to each step's `run`. Cheap to make: nothing is opened before it is asked for."""

    request: StepRequest
    lake: Lake
    scratch: Path  # empty, of this attempt only, removed afterwards
    code: Path | None = None  # the unpacked user code: include/models/, spark_jobs/
    log: logging.Logger = field(default=log, repr=False)
    notes: Notes = field(default_factory=Notes, repr=False)

    def connection(self, use: str) -> Connection:
        """The connection that the request names for a use, such as `source` or `registry`.

        Raises:
            StepError: TW511, TW512 where there is none.
        """
        id = self.request.connections.get(use)
        if id is None:
            raise StepError("TW512", f"the step {self.request.id!r} names no connection for {use!r}", retryable=False)
        return connection(id)

    def registry_uri(self) -> str:
        """Where the model registry is: the connection `registry`, else the profile's file.

        Raises:
            StepError: TW512 where there is neither.
        """
        if "registry" not in self.request.connections and (found := self.setting("mlflow_uri")):
            return str(found)
        return self.connection("registry").http()

    def setting(self, name: str, default: Any = None) -> Any:
        """One of the profile's settings: how, never what."""
        return self.request.settings.get(name, default)

    def table(self, name: str) -> Table:
        """A table of this pipeline."""
        return self.lake.table(f"{self.request.pipeline}/{name}")

    def there(self, table: Table, version: int | None) -> int | None:
        """A version that a step found for its rows, or where that is gone, a later one that has the same."""
        if version is None:
            return None
        told = gone.of(self.lake.documents, table.name)
        if told is not None and not told.has(version):
            return version  # as mostly: the log need not be read
        return gone.same_rows(told, version, table.commits(version))

    def made(self, table: Table) -> str:
        """What the step's commit to a table is called: one whose rows are nowhere any more is made anew by another."""
        name = self.request.fingerprint
        while table.position(f"step:{name}") is not None:
            version = table.version_with("step", name)
            if version is None or self.there(table, version) is not None:
                break
            name = f"{name}@{version}"
        return name

    def input(self, name: str, kind: type[Ref]) -> Ref:
        """What an upstream step put out.

        Raises:
            StepError: TW513 where the request has no such input.
        """
        value = self.request.inputs.get(name)
        if not isinstance(value, kind):
            raise StepError(
                "TW513",
                f"the step {self.request.id!r} was not given {name!r}",
                retryable=False,
                got=sorted(self.request.inputs),
                expected=f"{name}: {kind.__name__}",
            )
        return value

    def snapshot(self, name: str) -> Snapshot:
        """The pinned rows of an upstream step's table."""
        ref = self.input(name, DatasetRef)
        gone.require(self.lake.documents, ref)
        return self.lake.table(ref.table).snapshot(ref.version)

"""Versioned tables: the only module that writes to a table's log.

Engines stage Parquet files in a folder of their own below the table; `Table.commit` takes them in,
together with the source's positions as application transactions. delta-rs does not check those by
itself, so a commit is always: load, compare, commit with that very handle, and on a conflict again.
`staging` writes and describes those files, `replacing` says what gives way to them, `snapshot` reads.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from deltalake import DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tradewind_runtime.actions import add, arrow_schema, foreign, properties, remove
from tradewind_runtime.connections import Connection, arrow_filesystem, delta_options, store_options
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.history import MOVES, Advance, Commit
from tradewind_runtime.lifetimes import lifetimes
from tradewind_runtime.positions import Positions
from tradewind_runtime.replacing import Replacing, removals
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.staging import Staged, cut_of, describe, find_files, write_files
from tradewind_runtime.storable import held, stored_schema

ATTEMPTS = 20
FOREIGN = "TW536"
RECENT = 20  # commits; mostly one of them tells what is asked
YOUNGEST = 2.0  # days; a step with files that are not committed yet never runs so long


@dataclass(frozen=True)
class Rewriting:
    """Files that are written again: no row changes, unless only some of them stay."""

    groups: Sequence[Sequence[str]]  # absolute paths; each group becomes one file
    told: Mapping[str, Any]  # kept in the table's history
    schema: pa.Schema | None = None  # the table's, where it changes: then all files are among the groups
    stay: pc.Expression | None = None  # the rows of the groups that stay, of each some
    gone: Sequence[str] = ()  # files of which none stays
    positions: Mapping[str, int] = field(default_factory=dict)  # transaction id → what it is afterwards


class PositionsMovedError(Exception):
    """Another writer got there first: read the positions again and go on from them."""


@dataclass(frozen=True)
class Table:
    """A Delta table of the lake, by its name `PIPELINE/NAME`."""

    name: str
    uri: str  # without a scheme when local
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    _known: threading.local = field(default_factory=threading.local, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """It goes to another process as what it was made of."""
        return Table, (self.name, self.uri, dict(self.options))

    @property
    def local(self) -> bool:
        """Whether it lies in a folder of this machine."""
        return "://" not in self.uri

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        """Arrow's view of the store that holds the table."""
        return pafs.LocalFileSystem() if self.local else arrow_filesystem(self.options)

    @property
    def _log(self) -> str:
        """The log's folder, as Arrow wants it."""
        return f"{self.uri.removeprefix('s3://')}/_delta_log"

    @property
    def _positions(self) -> Positions:
        """As this thread has read them."""
        if not hasattr(self._known, "positions"):
            self._known.positions = Positions(self.filesystem, self._log)
        found: Positions = self._known.positions
        return found

    def _load(self, version: int | None = None) -> DeltaTable | None:
        """A version, or the newest: of that, only what has come since this thread read it last, for a log is long.

        The newest is the same object each time, so nobody reads it again between judging it and committing by it.
        """
        try:
            if version is not None or (known := getattr(self._known, "newest", None)) is None:
                known = DeltaTable(self.uri, version=version, storage_options=dict(self.options) or None)
            else:
                known.update_incremental()
        except TableNotFoundError:
            return None
        if version is None:
            self._known.newest = known
        if unknown := foreign(known):
            raise StepError(
                FOREIGN, f"table {self.name!r} is written in a way that is not read here", retryable=False,
                got=", ".join(unknown), expected="a table without them",
                fix="have its other writer turn them off and write the rows anew (PURGE), or write to another table",
            )  # fmt: skip
        return known

    def exists(self) -> bool:
        """Whether it has a first version."""
        return self._load() is not None

    def create(self, schema: pa.Schema) -> None:
        """Make it, empty, unless it is there. First commits race, so this comes before any."""
        schema = stored_schema(schema, self.name)
        for attempt in _against_rivals():
            with attempt:
                DeltaTable.create(
                    self.uri,
                    schema=schema,
                    mode="ignore",
                    configuration={
                        "delta.enableExpiredLogCleanup": "false",  # a model's version may be of any age
                        "delta.dataSkippingNumIndexedCols": "-1",  # else the log's bounds are read of the first 32
                    },
                    name=self.name.replace("/", "."),
                    storage_options=dict(self.options) or None,
                    commit_properties=properties({}),  # a rival's first version is never followed by a second one
                )

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Add nullable columns that it does not have yet."""
        for attempt in _against_rivals():
            with attempt:
                table = self._require()
                have = {f.name for f in table.schema().fields}
                new = pa.schema([f.with_nullable(True) for f in fields if f.name not in have])
                if len(new):
                    table.alter.add_columns(Schema.from_arrow(new).fields)

    def rewrite(self, choose: Callable[[DeltaTable], Rewriting | None]) -> Rewriting | None:
        """Write files again, in one version; where a rival comes first, as its version wants it.

        The version's history says which file holds the rows of which.

        Args:
            choose: says of the newest version what is to be done, if anything.

        Raises:
            StepError: TW521 where a rival is always first.
        """
        done: dict[tuple[tuple[str, ...], str], list[Staged]] = {}  # what one attempt has made, the next need not
        try:
            for attempt in _against_rivals():
                with attempt:
                    handle = self._require()
                    chosen = choose(handle)
                    if chosen is not None:
                        self._rewrite(handle, chosen, done)
        except CommitFailedError as error:
            raise self._rivals() from error
        return chosen

    def _rewrite(
        self, handle: DeltaTable, chosen: Rewriting, done: dict[tuple[tuple[str, ...], str], list[Staged]]
    ) -> None:
        have = arrow_schema(handle)
        schema = have if chosen.schema is None else chosen.schema
        rows, changes = self.entries(handle), chosen.stay is not None
        actions: list[AddAction | RemoveAction] = []
        sources: dict[str, list[str]] = {}
        for group in chosen.groups:
            key = (tuple(group), str(schema))
            if key not in done:
                found = Snapshot(self, handle.version(), tuple(group), have).dataset().to_batches(filter=chosen.stay)
                batches = (batch.cast(schema) for batch in found)
                paths = write_files(self.filesystem, self.staging(), batches, schema, name=cut_of(group[0]))
                done[key] = [describe(self.filesystem, self.uri, path) for path in paths]
            for staged in done[key]:
                actions.append(add(staged, changes=changes))
                sources[staged.path] = [path.removeprefix(f"{self.uri}/") for path in group]
            if chosen.schema is None:
                actions += [remove(rows[path], changes=changes) for path in group]
        actions += [remove(rows[path]) for path in chosen.gone]
        handle.create_write_transaction(
            actions,
            "append" if chosen.schema is None else "overwrite",  # which removes all other files by itself
            schema=handle.schema() if chosen.schema is None else Schema.from_arrow(chosen.schema),
            commit_properties=properties(
                {**chosen.told, "files": sources},
                [Transaction(app_id=id, version=at) for id, at in chosen.positions.items()],
            ),
        )

    def _rivals(self) -> StepError:
        message = f"table {self.name!r}: {ATTEMPTS} commits in a row met a rival's"
        return StepError("TW521", message, fix="try again")

    def vacuum(self, days: float, keep: Collection[int], *, dry_run: bool) -> list[str]:
        """Delete files that no version of these, nor any of the last days, has; their paths.

        Files that a writer has staged and not committed yet are told by their age alone, so none goes that is younger
        than any step may be.
        """
        hours = math.ceil(max(days, YOUNGEST) * 24)
        # A file of these days was there when they began, or came later. Checkpoints forget when one was replaced.
        oldest = DeltaTable(self.uri, storage_options=dict(self.options) or None)
        oldest.load_as_version(datetime.now(UTC) - timedelta(hours=hours))
        return list(
            self._require().vacuum(
                retention_hours=hours,
                dry_run=dry_run,
                enforce_retention_duration=False,
                full=True,
                keep_versions=sorted({*keep, oldest.version()}),
            )
        )

    def lifetimes(self, files: Collection[str], since: int = 0) -> list[tuple[int, int]]:
        """From which version up to which it had each of some files that went, by their paths below it.

        Args:
            files: which.
            since: the first version whose files are asked for.
        """
        return list(lifetimes(self.filesystem, self._log, range(since, self._require().version() + 1), files))

    def _require(self, version: int | None = None) -> DeltaTable:
        table = self._load(version)
        if table is None:
            raise StepError("TW520", f"the lake has no table {self.name!r}", fix="run the step that writes it first")
        return table

    def version(self) -> int | None:
        """The newest version, or None where there is no table."""
        table = self._load()
        return None if table is None else table.version()

    def schema(self) -> pa.Schema | None:
        """Its columns by now, or None where there is no table."""
        table = self._load()
        return None if table is None else arrow_schema(table)

    def position(self, id: str) -> int | None:
        """The last committed position of a source, or None."""
        return self.positions([id])[id]

    def positions(self, ids: Iterable[str], version: int | None = None) -> dict[str, int | None]:
        """The same for many, of one version."""
        table, wanted = self._load(version), list(ids)
        return dict.fromkeys(wanted) if table is None else self._positions.of(table, wanted)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """A version of it, the newest by default.

        Raises:
            StepError: TW520 where there is no such table.
        """
        table = self._require(version)
        # Not file_uris(): it encodes the root's name and decodes the file's.
        paths = pa.table(table.get_add_actions()).column("path").to_pylist()
        files = tuple(sorted(map(self.absolute, paths)))
        return Snapshot(self, table.version(), files, arrow_schema(table))

    def entries(self, handle: DeltaTable, *columns: str) -> dict[str, dict[str, Any]]:
        """What a version's log says of each file, by its absolute path: size, rows, and bounds of some columns.

        Those of all columns of a wide table would come to many times what Python can hold of very many files.
        """
        found = pa.table(handle.get_add_actions(flatten=True))
        bounds = [f"{what}.{column}" for column in columns for what in ("min", "max", "null_count")]
        wanted = {"path", "size_bytes", "num_records", *bounds}
        rows = found.select([name for name in found.column_names if name in wanted]).to_pylist()
        return {self.absolute(row["path"]): row for row in rows}

    def identity(self) -> str:
        """The table's own id: one that was deleted and made again has another."""
        return str(self._require().metadata().id)

    def entries_of(self, version: int, *columns: str) -> dict[str, dict[str, Any]]:
        """The same of a version by its number."""
        return self.entries(self._require(version), *columns)

    def absolute(self, path: str) -> str:
        """Of a file, as the log calls it: encoded, and relative to the table."""
        return f"{self.uri}/{unquote(path)}"

    def history(self, version: int | None = None, limit: int | None = None) -> list[Commit]:
        """Commits up to a version, newest first.

        delta-rs gives the log's newest ones whatever version it is asked of, and numbers them down from that.
        """
        while True:
            handle = self._require()
            now = handle.version()
            beyond = now - (now if version is None else version)
            found = handle.history(None if limit is None else limit + beyond)
            if self._require().version() == now:  # else some may be of a rival's that came meanwhile
                return [Commit.of(entry) for entry in found[beyond:]]

    def commits(self, after: int, upto: int | None = None) -> list[Commit]:
        """Those after a version up to another, or the newest, oldest first."""
        last = self._require().version() if upto is None else upto
        return self.history(last, last - after)[::-1] if last > after else []

    def version_of_rows(self) -> int | None:
        """The newest version that has other rows than the one before, or may have: upkeep makes some that have not."""
        for limit in (1, RECENT, None) if self.exists() else ():
            for commit in self.history(limit=limit):
                if not commit.upkeep:
                    return commit.version
        return None

    def commit_with(self, key: str, value: Any) -> Commit | None:
        """The newest commit that was given this metadata: where a step that is done left its rows."""
        found = self.history() if self.exists() else ()
        return next((commit for commit in found if commit.told.get(key) == value), None)

    def version_with(self, key: str, value: Any) -> int | None:
        """The version of that commit."""
        found = self.commit_with(key, value)
        return found.version if found else None

    # Writing ---------------------------------------------------------------------------------

    def staging(self, id: str | None = None) -> str:
        """A folder, below the table, for one writer's Parquet files: absolute, with no scheme when local."""
        return f"{self.uri}/data/{id or uuid.uuid4().hex}"

    def stage(
        self,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        *,
        cut_by: str | None = None,
        folder: str | None = None,
    ) -> list[Staged]:
        """Write rows as Parquet below the table; nothing reads them until a commit.

        Args:
            batches: rows, streamed.
            schema: theirs.
            cut_by: a timestamp column: a file holds the rows of one UTC date only.
            folder: from `staging`; a new one by default.

        Raises:
            StepError: TW519 where no table holds such a type, or such a value.
        """
        schema = stored_schema(schema, self.name)
        rows = (held(batch, schema, self.name) for batch in batches)
        paths = write_files(self.filesystem, folder or self.staging(), rows, schema, cut_by)
        return [describe(self.filesystem, self.uri, path) for path in paths]

    def staged(self, folder: str) -> list[Staged]:
        """What an engine has left in its folder."""
        return [describe(self.filesystem, self.uri, path) for path in find_files(self.filesystem, folder)]

    def commit(
        self,
        files: Sequence[Staged],
        *,
        schema: pa.Schema,
        positions: Mapping[str, Advance] | None = None,
        replace: Replacing | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Take staged files in, with their source's positions, in one version.

        Args:
            files: of `stage` or `staged`; may be empty, where only positions move.
            schema: of the files; columns that the table has not are added before.
            positions: transaction id → advance.
            replace: rows that give way: spans of a column, those with some keys, all but some, or "all".
            metadata: kept in the table's history, and the positions with it.

        Returns:
            The version that holds them: the existing one where all positions are already as wanted.

        Raises:
            PositionsMovedError: where a position is neither as expected before nor as wanted after.
            StepError: TW521 where the table has other types than the files, or a rival is always first; TW519 where no
                table holds such a type.
        """
        schema = stored_schema(schema, self.name)
        handle = self.prepare(schema)
        wanted = dict(positions or {})
        moves = {MOVES: {id: (move.before, move.after) for id, move in wanted.items()}} if wanted else {}
        for attempt in range(ATTEMPTS):
            handle = handle if attempt == 0 else self._require()
            now = self._positions.of(handle, wanted)
            if wanted and all(now[id] == move.after for id, move in wanted.items()):
                return handle.version()
            if any(now[id] != move.before for id, move in wanted.items()):
                raise PositionsMovedError(self.name)
            _same_types(self.name, arrow_schema(handle), schema if files else pa.schema([]))
            actions: list[AddAction | RemoveAction] = [add(staged) for staged in files]
            removed, replaced = removals(self, handle, replace)
            actions += removed
            if not actions and not wanted:
                return handle.version()
            try:
                handle.create_write_transaction(
                    actions,
                    "append",
                    schema=handle.schema(),
                    commit_properties=properties(
                        {**(metadata or {}), **moves, **replaced},
                        [Transaction(app_id=id, version=move.after) for id, move in wanted.items()],
                    ),
                )
            except CommitFailedError:
                time.sleep(min(1.0, 0.02 * 2**attempt))
                continue
            return handle.version() + 1  # no retries inside delta-rs, so it is the very next one
        raise self._rivals()

    def prepare(self, schema: pa.Schema) -> DeltaTable:
        """The table's newest version, with at least these columns. To read its log is what a small commit costs."""
        table = self._load()
        if table is None:
            self.create(schema)
            table = self._require()  # it may be a rival's, with other columns
        if set(schema.names) - {column.name for column in table.schema().fields}:
            self.add_columns(list(schema))
            table = self._require()
        return table


class Lake:
    """Documents and tables below one root."""

    def __init__(self, root: str, connection: Connection | None = None) -> None:
        self.root = root.rstrip("/")
        self.documents = Documents(root, store_options(connection))
        self.options = delta_options(connection)

    def table(self, name: str) -> Table:
        """The table `PIPELINE/NAME`, whether it exists yet or not."""
        root = self.root
        if urlsplit(root).scheme == "file":
            root = unquote(urlsplit(root).path)
        return Table(name, f"{root}/tables/{name}", self.options)

    def tables(self) -> Iterator[str]:
        """Names of the tables that exist."""
        seen = set()
        for path in self.documents.names("tables"):
            head, log, _ = path.partition("/_delta_log/")
            if log and head not in seen:
                seen.add(head)
                yield head.removeprefix("tables/")


def _against_rivals() -> Retrying:
    """Attempts at a change of the log that a rival's may come before; what it did is then read anew."""
    return Retrying(
        retry=retry_if_exception_type(CommitFailedError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.02, max=1.0),
        reraise=True,
    )


def _same_types(name: str, have: pa.Schema, schema: pa.Schema) -> None:
    """A file by older types must not come into a table that was widened meanwhile."""
    for one in schema:
        if (kind := have.field(one.name).type) != one.type:
            raise StepError(
                "TW521", f"table {name!r} has other types by now", got=f"{one.name}: {one.type}",
                expected=str(kind), fix="try again",
            )  # fmt: skip

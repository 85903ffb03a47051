"""Versioned tables: the only module that writes to a table's log.

Engines stage Parquet files in a folder of their own below the table; `Table.commit` takes them in,
together with the source's positions as application transactions. delta-rs does not check those by
itself, so a commit is always: load, compare, commit with that very handle, and on a conflict again.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tradewind_runtime.connections import Connection, delta_options, store_options
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.lake_stats import stats

if TYPE_CHECKING:
    import pyarrow.dataset as ds

ROW_GROUP = 65_536
ATTEMPTS = 20


@dataclass(frozen=True)
class Advance:
    """A source's position in a table: what it must be before the commit, and what it is after."""

    before: int | None
    after: int


@dataclass(frozen=True)
class Replace:
    """Rows with `start <= column < end` give way to the commit's."""

    column: str
    start: datetime | date | str | int
    end: datetime | date | str | int


@dataclass(frozen=True)
class Staged:
    """A Parquet file that lies below the table and is not yet part of it."""

    path: str  # relative to the table
    size: int
    stats: str


class PositionsMovedError(Exception):
    """Another writer got there first: read the positions again and go on from them."""


@dataclass(frozen=True)
class Snapshot:
    """One version of a table; reading it again gives the same rows."""

    table: Table
    version: int
    files: tuple[str, ...]  # local paths or s3:// URIs, decoded
    schema: pa.Schema

    def dataset(self) -> ds.Dataset:
        """The rows, for streaming and filters; no Hive partitions are inferred."""
        import pyarrow.dataset as ds  # brings pandas along, which many a step has no need of

        if not self.files:
            return ds.dataset(pa.table({f.name: pa.array([], f.type) for f in self.schema}))
        names = [name.removeprefix("s3://") for name in self.files]
        return ds.dataset(names, schema=self.schema, format="parquet", filesystem=self.table.filesystem)

    def to_arrow(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """All rows, or those that the filter keeps."""
        return self.dataset().to_table(columns=list(columns) if columns else None, filter=where)

    def count(self, where: pc.Expression | None = None) -> int:
        """How many rows."""
        return int(self.dataset().count_rows(filter=where))


@dataclass(frozen=True)
class Table:
    """A Delta table of the lake, by its name `PIPELINE/NAME`."""

    name: str
    uri: str  # without a scheme when local
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def local(self) -> bool:
        """Whether it lies in a folder of this machine."""
        return "://" not in self.uri

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        """Arrow's view of the store that holds the table."""
        if self.local:
            return pafs.LocalFileSystem()
        endpoint = self.options.get("AWS_ENDPOINT_URL", "")
        return pafs.S3FileSystem(
            access_key=self.options.get("AWS_ACCESS_KEY_ID"),
            secret_key=self.options.get("AWS_SECRET_ACCESS_KEY"),
            region=self.options.get("AWS_REGION"),
            scheme="http" if endpoint.startswith("http://") else "https",
            endpoint_override=urlsplit(endpoint).netloc or None,
        )

    def _load(self, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri, version=version, storage_options=dict(self.options) or None)
        except TableNotFoundError:
            return None

    def exists(self) -> bool:
        """Whether it has a first version."""
        return self._load() is not None

    def create(self, schema: pa.Schema) -> None:
        """Make it, empty, unless it is there. First commits race, so this comes before any."""
        for attempt in _against_rivals():
            with attempt:
                DeltaTable.create(
                    self.uri,
                    schema=schema,
                    mode="ignore",
                    name=self.name.replace("/", "."),
                    storage_options=dict(self.options) or None,
                )

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Add nullable columns that it does not have yet."""
        from deltalake import Schema

        for attempt in _against_rivals():
            with attempt:
                table = self._require()
                have = {f.name for f in table.schema().fields}
                new = pa.schema([f.with_nullable(True) for f in fields if f.name not in have])
                if len(new):
                    table.alter.add_columns(Schema.from_arrow(new).fields)

    def _require(self, version: int | None = None) -> DeltaTable:
        table = self._load(version)
        if table is None:
            raise StepError("TW520", f"the lake has no table {self.name!r}", fix="run the step that writes it first")
        return table

    def version(self) -> int | None:
        """The newest version, or None where there is no table."""
        table = self._load()
        return None if table is None else table.version()

    def position(self, id: str) -> int | None:
        """The last committed position of a source, or None."""
        table = self._load()
        return None if table is None else table.transaction_version(id)

    def positions(self, ids: Iterable[str]) -> dict[str, int | None]:
        """The same for many, of one version."""
        table = self._load()
        return {id: None if table is None else table.transaction_version(id) for id in ids}

    def snapshot(self, version: int | None = None) -> Snapshot:
        """A version of it, the newest by default.

        Raises:
            StepError: TW520 where there is no such table.
        """
        table = self._require(version)
        # Not file_uris(): it encodes the root's name and decodes the file's.
        paths = pa.table(table.get_add_actions()).column("path").to_pylist()
        files = tuple(sorted(f"{self.uri}/{unquote(path)}" for path in paths))
        return Snapshot(self, table.version(), files, _arrow_schema(table))

    def history(self) -> list[dict[str, Any]]:
        """Commits, newest first, with what they were given as metadata."""
        return list(self._require().history())

    def version_with(self, key: str, value: Any) -> int | None:
        """The newest version whose commit was given this metadata: where a step that is done left its rows."""
        for commit in self.history() if self.exists() else ():
            if json.loads(commit.get("tradewind") or "{}").get(key) == value:
                return int(commit["version"])
        return None

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
        """
        root = (folder or self.staging()).removeprefix("s3://")
        if self.local:
            self.filesystem.create_dir(root, recursive=True)
        writers: dict[date | None, tuple[str, pq.ParquetWriter]] = {}
        try:
            for batch in batches:
                for day, part in _by_day(batch, cut_by) if batch.num_rows else ():
                    if day not in writers:
                        path = f"{root}/{day or 'part'}-{len(writers):05d}.parquet"
                        writers[day] = (
                            path,
                            pq.ParquetWriter(
                                path, schema, filesystem=self.filesystem, compression="zstd", coerce_timestamps="us"
                            ),
                        )
                    writers[day][1].write_batch(part.cast(schema), row_group_size=ROW_GROUP)
        finally:
            for _, writer in writers.values():
                writer.close()
        return [self._staged(path) for path, _ in writers.values()]

    def staged(self, folder: str) -> list[Staged]:
        """What an engine has left in its folder."""
        root = folder.removeprefix("s3://")
        selector = pafs.FileSelector(root, recursive=True, allow_not_found=True)
        found = [
            info.path
            for info in self.filesystem.get_file_info(selector)
            if info.is_file and info.path.endswith(".parquet")
        ]
        return [self._staged(path) for path in sorted(found)]

    def _staged(self, path: str) -> Staged:
        metadata = pq.read_metadata(path, filesystem=self.filesystem)
        base = self.uri.removeprefix("s3://").rstrip("/") + "/"
        size = self.filesystem.get_file_info(path).size
        return Staged(path.removeprefix(base), size, stats(metadata))

    def commit(
        self,
        files: Sequence[Staged],
        *,
        schema: pa.Schema,
        positions: Mapping[str, Advance] | None = None,
        replace: Replace | str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Take staged files in, with their source's positions, in one version.

        Args:
            files: of `stage` or `staged`; may be empty, where only positions move.
            schema: of the files; columns that the table has not are added before.
            positions: transaction id → advance.
            replace: rows that give way: a span of a column, or "all".
            metadata: kept in the table's history.

        Returns:
            The version that holds them: the existing one where all positions are already as wanted.

        Raises:
            PositionsMovedError: where a position is neither as expected before nor as wanted after.
        """
        self._prepare(schema)
        wanted = dict(positions or {})
        for attempt in range(ATTEMPTS):
            handle = self._require()
            now = {id: handle.transaction_version(id) for id in wanted}
            if wanted and all(now[id] == move.after for id, move in wanted.items()):
                return handle.version()
            if any(now[id] != move.before for id, move in wanted.items()):
                raise PositionsMovedError(self.name)
            actions: list[AddAction | RemoveAction] = [_add(staged) for staged in files]
            actions += self._removals(handle, replace)
            if not actions and not wanted:
                return handle.version()
            try:
                handle.create_write_transaction(
                    actions,
                    "append",
                    schema=handle.schema(),
                    commit_properties=CommitProperties(
                        custom_metadata={"tradewind": json.dumps(dict(metadata or {}), default=str)},
                        app_transactions=[Transaction(app_id=id, version=move.after) for id, move in wanted.items()],
                        max_commit_retries=0,
                    ),
                )
            except CommitFailedError:
                time.sleep(min(1.0, 0.02 * 2**attempt))
                continue
            return handle.version() + 1  # no retries inside delta-rs, so it is the very next one
        raise StepError("TW521", f"table {self.name!r}: {ATTEMPTS} commits in a row met a rival's", fix="try again")

    def _prepare(self, schema: pa.Schema) -> None:
        """The table, with at least these columns."""
        table = self._load()
        if table is None:
            self.create(schema)
        elif set(schema.names) - {column.name for column in table.schema().fields}:
            self.add_columns(list(schema))

    def _removals(self, handle: DeltaTable, replace: Replace | str | None) -> list[AddAction | RemoveAction]:
        """Remove the files of a span; of one that reaches beyond it, keep the rows outside in a new file."""
        if replace is None:
            return []
        files = pa.table(handle.get_add_actions(flatten=True)).to_pylist()
        if isinstance(replace, str):
            return [_remove(row) for row in files]
        schema = _arrow_schema(handle)
        start, end = (_as_type(bound, schema.field(replace.column).type) for bound in (replace.start, replace.end))
        actions: list[AddAction | RemoveAction] = []
        for row in files:
            low, high = row.get(f"min.{replace.column}"), row.get(f"max.{replace.column}")
            if low is not None and high is not None and (high < start or low >= end):
                continue
            column = pc.field(replace.column)
            outside = (column < start) | (column >= end) | column.is_null()
            whole, kept = self._part(row["path"], schema, outside)
            if kept.num_rows == whole:
                continue
            actions.append(_remove(row))
            actions += [_add(staged) for staged in self.stage(kept.to_batches(), schema)]
        return actions

    def _part(self, path: str, schema: pa.Schema, where: pc.Expression) -> tuple[int, pa.Table]:
        """How many rows a file has, and those of them that the filter keeps."""
        name = f"{self.uri.removeprefix('s3://')}/{unquote(path)}"
        import pyarrow.dataset as ds

        rows = ds.dataset([name], schema=schema, format="parquet", filesystem=self.filesystem)
        return rows.count_rows(), rows.to_table(filter=where)


class Lake:
    """Documents and tables below one root."""

    def __init__(self, root: str, connection: Connection | None = None) -> None:
        self.root = root.rstrip("/")
        self.documents = Documents(root, store_options(connection))
        self._options = delta_options(connection)

    def table(self, name: str) -> Table:
        """The table `PIPELINE/NAME`, whether it exists yet or not."""
        root = self.root
        if urlsplit(root).scheme == "file":
            root = unquote(urlsplit(root).path)
        return Table(name, f"{root}/tables/{name}", self._options)

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


def _arrow_schema(table: DeltaTable) -> pa.Schema:
    return pa.schema(pa.schema(table.schema().to_arrow()))


def _add(staged: Staged) -> AddAction:
    return AddAction(staged.path, staged.size, {}, int(time.time() * 1000), True, staged.stats)


def _remove(row: Mapping[str, Any]) -> RemoveAction:
    """Actions are given names as they are; the log, and what is read of it, has them encoded."""
    return RemoveAction(unquote(row["path"]), True, int(time.time() * 1000), size=row["size_bytes"])


def _as_type(bound: datetime | date | str | int, kind: pa.DataType) -> datetime | date | str | int:
    """A bound that compares with a column's values: a moment in a column of dates is the next midnight."""
    if not isinstance(bound, datetime):
        return bound
    moment = bound if bound.tzinfo else bound.replace(tzinfo=UTC)
    if pa.types.is_date(kind):
        day = moment.astimezone(UTC)
        return day.date() if day.time() == day.min.time() else day.date() + timedelta(days=1)
    return moment if kind.tz else moment.astimezone(UTC).replace(tzinfo=None)


def _by_day(batch: pa.RecordBatch, column: str | None) -> Iterator[tuple[date | None, pa.RecordBatch]]:
    if column is None:
        yield None, batch
        return
    days = pc.cast(batch.column(column), pa.timestamp("us")).cast(pa.date32(), safe=False)
    for day in pc.unique(days).to_pylist():
        mask = pc.equal(days, day) if day is not None else pc.is_null(days)
        yield day, batch.filter(mask)

"""`ingest_capture`: closed capture segments go to `<endpoint>_requests`, each row exactly once.

A replica numbers its segments, so the last number taken is the whole position: `capture:<endpoint>/<replica>`.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import endpoints
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.monitor import table_name
from tradewind_runtime.contract.refs import DatasetRef
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.history import Advance
from tradewind_runtime.judging import alive
from tradewind_runtime.lake import PositionsMovedError, Table

TIMESTAMP = pa.timestamp("us", "UTC")
#: What every row has, whatever was asked.
COMMON = pa.schema(
    [
        ("_prediction", pa.float64()),
        ("_digest", pa.string()),
        ("_arm", pa.string()),
        ("_generation", pa.int64()),
        ("_time", TIMESTAMP),
        ("_request", pa.string()),
        ("_row", pa.int64()),
        ("_source", pa.string()),
        ("_position", pa.int64()),
        ("_ingested", TIMESTAMP),
    ]
)
#: Segments that are committed at once.
CHUNK = 200
#: Seconds to wait for replicas to close what was answered before the step began.
PATIENCE = 20.0
#: A replica renews its status every few seconds; one that has not for so long was killed, and closes nothing.
SILENT = timedelta(seconds=12)


class IngestCaptureConfig(Frozen):
    """What the step is configured by."""

    endpoint: str
    time: str | None = None


def run(context: StepContext) -> StepOutcome:
    """Take in all segments that are closed, those that hold what was answered until now among them."""
    config = context.request.configured(IngestCaptureConfig)
    table = context.table(table_name(config.endpoint))
    _wait(context, config.endpoint)
    rows, segments = 0, 0
    for replica, paths in _segments(context, config.endpoint):
        done = _ingest(context, config, table, replica, paths)
        rows, segments = rows + done[0], segments + done[1]
    if not table.exists():
        table.create(COMMON)
    version = table.version()
    assert version is not None, "it was just created"
    context.log.info("%s: %d rows of %d segments", config.endpoint, rows, segments)
    return StepOutcome(
        outputs={"rows": DatasetRef(table=table.name, version=version)}, metrics={"rows": rows, "segments": segments}
    )


def read_segment(content: bytes) -> pa.Table:
    """A closed segment's rows."""
    return pa.ipc.open_file(io.BytesIO(content)).read_all()


def _wait(context: StepContext, endpoint: str) -> None:
    """Until live replicas have closed what they answered before now. One that is gone has lost its open segment."""
    begun = datetime.now(UTC)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        now = datetime.now(UTC)
        live = [s for s in endpoints.statuses(context.lake.documents, endpoint) if alive(s, now, SILENT)]
        behind = [s.replica for s in live if s.closed is None or s.closed < begun]
        if not behind:
            return
        time.sleep(0.5)
    context.log.info("%s: not waiting longer for %s to close what they hold", endpoint, ", ".join(behind))


def _segments(context: StepContext, endpoint: str) -> Iterator[tuple[str, list[str]]]:
    names = context.lake.documents.names(f"capture/{endpoint}")
    for replica, paths in groupby(names, key=lambda path: path.split("/")[2]):
        yield replica, list(paths)


def _sequence(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(".arrow"))


def _ingest(
    context: StepContext, config: IngestCaptureConfig, table: Table, replica: str, paths: Sequence[str]
) -> tuple[int, int]:
    id = f"capture:{config.endpoint}/{replica}"
    rows = segments = 0
    while True:
        before = table.position(id)
        new = [path for path in paths if before is None or _sequence(path) > before][:CHUNK]
        if not new:
            return rows, segments
        whole = _rows(context, config, table, f"{config.endpoint}/{replica}", new)
        staged = table.stage(whole.to_batches(), whole.schema, cut_by=config.time or "_time")
        try:
            table.commit(
                staged,
                schema=whole.schema,
                positions={id: Advance(before, _sequence(new[-1]))},
                metadata={"run": context.request.run_id, "rows": whole.num_rows},
            )
        except PositionsMovedError:
            continue
        rows, segments = rows + whole.num_rows, segments + len(new)


def _rows(
    context: StepContext, config: IngestCaptureConfig, table: Table, source: str, paths: Sequence[str]
) -> pa.Table:
    parts = []
    for path in paths:
        content = context.lake.documents.get(path)
        if content is None:
            raise StepError("TW565", f"segment {path} is gone", fix="see who removed it; then try again")
        part = read_segment(content)
        parts.append(
            part.append_column("_source", pa.repeat(source, part.num_rows)).append_column(
                "_position", pa.repeat(pa.scalar(_sequence(path), pa.int64()), part.num_rows)
            )
        )
    known = table.schema() or COMMON
    types = {field.name: field.type for field in known}
    if config.time:
        types.setdefault(config.time, TIMESTAMP)
    for part in parts:
        for field in part.schema:
            types.setdefault(field.name, pa.string() if pa.types.is_null(field.type) else field.type)
    if pa.types.is_list(parts[0].schema.field("_prediction").type) and not table.exists():
        types["_prediction"] = pa.list_(pa.float64())
    names = dict.fromkeys(name for part in parts for name in part.column_names)
    if config.time:
        names[config.time] = None
    whole = pa.concat_tables([_typed(context, part, {name: types[name] for name in names}) for part in parts])
    now = pa.scalar(datetime.now(UTC), TIMESTAMP)
    return whole.append_column("_ingested", pa.repeat(now, whole.num_rows))


def _typed(context: StepContext, part: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    columns = {}
    for name, kind in types.items():
        if name not in part.column_names:
            columns[name] = pa.nulls(part.num_rows, kind)
            continue
        values = part.column(name)
        if pa.types.is_timestamp(kind) and pa.types.is_string(values.type):
            columns[name] = pa.array([_moment(value) for value in values.to_pylist()], TIMESTAMP)
            continue
        try:
            columns[name] = pc.cast(values, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            context.log.warning("column %s: %s does not fit the table's %s; left empty", name, values.type, kind)
            columns[name] = pa.nulls(part.num_rows, kind)
    return pa.table(columns)


def _moment(text: str | None) -> datetime | None:
    """A time as a client writes it; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)

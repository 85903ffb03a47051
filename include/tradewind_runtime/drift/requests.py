"""A window's rows of an endpoint's table of captured requests, streamed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.snapshot import Snapshot

PREDICTION, DIGEST, TIME, ARM = "_prediction", "_digest", "_time", "_arm"
_MOMENT = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Requests:
    """What was asked in a window, and what was answered. A shadow's answers reached nobody and are left out."""

    snapshot: Snapshot
    window: Window
    time: str | None = None

    def digests(self) -> list[str]:
        """Models that answered."""
        found: set[str] = set()
        for batch in self._scan([DIGEST], None):
            found.update(value for value in pc.unique(batch.column(DIGEST)).to_pylist() if value is not None)
        return sorted(found)

    def batches(self, digest: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns and the answers of one model."""
        for batch in self._scan([*columns, PREDICTION], pc.field(DIGEST) == digest):
            yield batch.select([*columns, PREDICTION])

    def table(self, digest: str, columns: Sequence[str]) -> pa.Table:
        """These columns, the answers and when they were given, of one model, in memory."""
        names = [*columns, PREDICTION, TIME]
        found = [batch.select(names) for batch in self._scan(names, pc.field(DIGEST) == digest)]
        return pa.Table.from_batches(found, pa.schema([self.snapshot.schema.field(name) for name in names]))

    def _scan(self, columns: Sequence[str], where: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        time, names = self.time or TIME, self.snapshot.schema.names
        for name in (time, *columns):
            if name not in names:
                raise _missing(name, names)
        kind = self.snapshot.schema.field(time).type
        low, high = (pa.scalar(at.astimezone(UTC), _MOMENT) for at in (self.window.start, self.window.end))
        conditions = [] if where is None else [where]
        if ARM in names:
            conditions.append((pc.field(ARM) != "shadow") | pc.field(ARM).is_null())
        texts = not pa.types.is_timestamp(kind) and not pa.types.is_date(kind)
        if not texts:
            moment = pc.field(time) if kind == _MOMENT else pc.field(time).cast(pa.timestamp("us")).cast(_MOMENT)
            conditions.append((moment >= low) & (moment < high))
        whole: pc.Expression | None = None
        for condition in conditions:
            whole = condition if whole is None else whole & condition
        for batch in self.snapshot.dataset().to_batches(columns=sorted({time, *columns}), filter=whole):
            if texts:
                moments = moments_of(batch.column(time))
                inside = pc.and_(pc.greater_equal(moments, low), pc.less(moments, high))
                batch = batch.filter(inside)  # noqa: PLW2901 - the rest of the same batch
            if batch.num_rows:
                yield batch


def moments_of(texts: pa.Array) -> pa.Array:
    """ISO texts as moments, as clients send them; UTC where they say no zone, null where they are no time."""
    return pa.array([_moment(text) for text in texts.cast(pa.string()).to_pylist()], _MOMENT)


def _moment(text: str | None) -> datetime | None:
    try:
        value = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _missing(name: str, names: list[str]) -> StepError:
    near = difflib.get_close_matches(name, names, n=1)
    return StepError(
        "TW582", f"captured requests have no column {name!r}", retryable=False, got=names,
        suggestion=near[0] if near else None,
        fix="clients send it as a tensor of that name; else leave monitor.time out, to go by the request's own time",
    )  # fmt: skip

"""`score`: the champion's answers to a table's rows of the window, in place of the window's earlier answers.

The fingerprint holds the champion's digest and the table's version: the same again is the same rows, committed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tradewind_runtime import artefacts
from tradewind_runtime.artefacts import Artefact
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.deploy import ScoreConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.frameworks import Predictor, predictor
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import PositionsMovedError, Table
from tradewind_runtime.replacing import Replace
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.training import matrix

PREDICTION, DIGEST = "prediction", "_digest"
ROWS = 65_536


def run(context: StepContext) -> StepOutcome:
    """Score the rows, streamed.

    Raises:
        StepError: TW585 where there is no champion, TW586 where the table lacks a column; TW560 of the artefact.
    """
    config = context.request.configured(ScoreConfig)
    output = context.table(config.score.output)
    mark = context.made(output)
    artefact = artefacts.load(context.lake.documents, _champion(context))
    if output.position(f"step:{mark}") is None:
        _score(context, config, output, mark, artefact)
    version = context.there(output, output.version_with("step", mark))
    snapshot = output.snapshot(version)
    rows = snapshot.count(_where(snapshot.schema, config.time, context.request.window))
    context.log.info("%s: %d rows scored by model %s", output.name, rows, artefact.digest[:12])
    return StepOutcome(
        outputs={"predictions": DatasetRef(table=output.name, version=snapshot.version)}, metrics={"rows": rows},
        facts={"digest": artefact.digest, "table": context.input("table", DatasetRef).model_dump(mode="json")},
    )  # fmt: skip


def _champion(context: StepContext) -> str:
    digest = context.request.pins.get("champion")
    if not digest:
        raise StepError(
            "TW585", "there is no champion to score with", retryable=False,
            fix="a version becomes champion when its rollout ends: see the rollout's DAG, or `tradewind model ls`",
        )  # fmt: skip
    return str(digest)


@dataclass(frozen=True)
class _Scorer:
    artefact: Artefact
    predictor: Predictor
    keep: tuple[str, ...]
    schema: pa.Schema

    def batches(self, snapshot: Snapshot, where: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        """Kept columns, the answer and whose it is."""
        columns = list(dict.fromkeys([*self.keep, *self.artefact.manifest.features]))
        for batch in snapshot.dataset().to_batches(columns=columns, filter=where, batch_size=ROWS):
            if not batch.num_rows:
                continue
            x = matrix(pa.Table.from_batches([batch]), self.artefact.manifest.features)
            answers = self._answers(self.predictor.predict(x))
            whose = pa.repeat(pa.scalar(self.artefact.digest), batch.num_rows)
            kept = [batch.column(name) for name in self.keep]
            yield pa.RecordBatch.from_arrays([*kept, answers, whose], schema=self.schema)

    def _answers(self, found: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> pa.Array:
        bad = int(np.sum(~np.isfinite(found).reshape(len(found), -1).all(axis=1)))
        if bad:
            raise StepError("TW587", f"{bad} of {len(found)} answers are NaN or infinite", retryable=False,
                            fix="nothing was written; see what the rows hold that training never saw")  # fmt: skip
        return pa.array(found if found.ndim == 1 else found.tolist(), self.schema.field(PREDICTION).type)


def _score(context: StepContext, config: ScoreConfig, output: Table, mark: str, artefact: Artefact) -> None:
    snapshot = context.snapshot("table")
    keep = tuple(dict.fromkeys([*([config.time] if config.time else []), *config.score.keep]))
    _require(snapshot, [*keep, *artefact.manifest.features])
    many = artefact.manifest.task == "multiclass" and len(artefact.manifest.classes) > 2
    answer = pa.list_(pa.float64()) if many else pa.float64()
    schema = pa.schema([*(snapshot.schema.field(name) for name in keep), (PREDICTION, answer), (DIGEST, pa.string())])
    scorer = _Scorer(artefact, predictor(artefact, int(context.setting("threads", 1))), keep, schema)
    window = context.request.window
    where = _where(snapshot.schema, config.time, window)
    files = output.stage(scorer.batches(snapshot, where), schema)
    try:
        output.commit(
            files, schema=schema, positions={f"step:{mark}": Advance(None, 1)},
            replace=Replace(config.time, window.start, window.end) if config.time and window else "all",
            metadata={"step": mark, "run": context.request.run_id},
        )  # fmt: skip
    except PositionsMovedError:
        context.log.info("another attempt was first: its rows stay")


def _where(schema: pa.Schema, time: str | None, window: Window | None) -> pc.Expression | None:
    if time is None or window is None:
        return None
    column, kind = pc.field(time), schema.field(time).type
    if not (pa.types.is_timestamp(kind) and kind.tz):  # without a zone, it is UTC
        column = column.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    low, high = (pa.scalar(at, pa.timestamp("us", "UTC")) for at in (window.start, window.end))
    return (column >= low) & (column < high)


def _require(snapshot: Snapshot, columns: list[str]) -> None:
    names = snapshot.schema.names
    if missing := [name for name in columns if name not in names]:
        raise StepError("TW586", f"the table {snapshot.table.name!r} has no column {missing[0]!r}", retryable=False,
                        got=names, expected=", ".join(missing), path="score.table")  # fmt: skip

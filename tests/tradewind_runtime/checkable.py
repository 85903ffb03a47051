"""A lake with one raw table, and the steps that check it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake
from tradewind_runtime.replacing import Replacing

START = datetime(2013, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("at", pa.timestamp("us", "UTC")),
        ("carrier", pa.string()),
        ("delay", pa.float64()),
        ("n", pa.int64()),
        ("_source", pa.string()),
        ("_position", pa.int64()),
    ]
)


def rows(count: int, first: int = 0, **columns) -> pa.Table:
    body = {
        "at": [START + timedelta(hours=n) for n in range(first, first + count)],
        "carrier": ["AA"] * count,
        "delay": [float(n) for n in range(count)],
        "n": list(range(count)),
        "_source": ["flights-0"] * count,
        "_position": list(range(first, first + count)),
    }
    return pa.table(body | columns, SCHEMA)


class House:
    """A lake with one raw table, and the requests that check it."""

    def __init__(self, root, lake: Lake | None = None):
        self.lake = lake or Lake(root.as_uri())
        self.raw, self.checked, self.refused = (
            self.lake.table(f"p/flights{suffix}") for suffix in ("_raw", "", "_quarantine")
        )
        self.root = root

    def add(self, table: pa.Table, replace: Replacing | None = None) -> int:
        return self.raw.commit(self.raw.stage(table.to_batches(), table.schema), schema=table.schema, replace=replace)

    def request(self, *suite: dict, version: int | None = None, run: str = "r1", **more) -> StepRequest:
        version = self.raw.version() if version is None else version
        config = {"source": "flights", "expectations": [dict(one) for one in suite], "time": "at"}
        return StepRequest(
            step="check",
            id="check_flights",
            pipeline="p",
            run_id=run,
            lake=self.lake.root,
            config=config,
            inputs={"rows": DatasetRef(table="p/flights_raw", version=version)},
            **more,
        )

    def check(self, *suite: dict, **more):
        return execute(self.request(*suite, **more))

    def day(self, number: int, *suite: dict, **more):
        return execute(self.of_day(number, *suite, **more))

    def of_day(
        self, number: int, *suite: dict, now: datetime | None = None, backfill: bool = False, **more
    ) -> StepRequest:
        """As the run of a day asks: its window is that day, and it starts when the day is over."""
        window = Window(start=START + timedelta(days=number), end=START + timedelta(days=number + 1))
        pins = {
            "window": window.model_dump(mode="json"),
            "created": (now or window.end).isoformat(),
            "backfill": backfill,
        }
        return self.request(*suite, pins=pins, **{"run": f"day-{number}"} | more)

    def results(self) -> list[dict]:
        table = self.lake.table("p/checks")
        return table.snapshot().to_arrow().sort_by("time").to_pylist() if table.exists() else []

    def positions(self) -> list[int]:
        return sorted(self.checked.snapshot().to_arrow(["_position"])["_position"].to_pylist())

    def quarantined(self) -> list[dict]:
        return self.refused.snapshot().to_arrow().to_pylist() if self.refused.exists() else []

"""The step that checks rows by a suite of Great Expectations, beside Great Expectations alone, in one run.

`python -m bench.checks [--rows 1000000] [--repeat 3]`. Rows of ten columns lie in a table as ingestion leaves them; ten
expectations, of which one finds that some rows fail. `alone` reads the table's files and asks them of one data frame;
`by_hand` writes the rows that pass as well, as the step does. Each figure is of a process of its own; results go to
bench/results/checks.json. `--growth` asks them of ever more rows, for bench/results/checks_growth.json and a chart.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bench import bare, measuring
from bench.charts import draw
from bench.measuring import Task
from bench.results import write
from bench.rows import CARRIERS, FIRST, ORIGINS, SCHEMA, batches

GOAL = 1.1  # times what Great Expectations takes alone
PEERS = ("ours", "alone", "by_hand")
FILE = 500_000  # rows of one, as ingestion commits them
MOST = 118.0  # minutes: one delay in a thousand is longer
RAW = "bench/flights_raw"
SUITE: tuple[dict[str, dict[str, Any]], ...] = (
    {"expect_column_values_to_not_be_null": {"column": "carrier"}},
    {"expect_column_values_to_not_be_null": {"column": "at"}},
    {"expect_column_values_to_be_unique": {"column": "id"}},
    {"expect_column_values_to_be_in_set": {"column": "carrier", "value_set": list(CARRIERS)}},
    {"expect_column_values_to_be_in_set": {"column": "origin", "value_set": list(ORIGINS)}},
    {"expect_column_values_to_be_between": {"column": "flight", "min_value": 1, "max_value": 6_000}},
    {"expect_column_values_to_be_between": {"column": "distance", "min_value": 1, "max_value": 6_000}},
    {"expect_column_values_to_be_between": {"column": "delay", "min_value": -60, "max_value": MOST, "mostly": 0.99}},
    {"expect_column_values_to_match_regex": {"column": "note", "regex": "^[a-z]{24}$"}},
    {"expect_column_mean_to_be_between": {"column": "delay", "min_value": -10, "max_value": 30}},
)
MODULES = {
    "ours": ("tradewind_runtime.execute", "tradewind_runtime.steps.check", "tradewind_runtime.expectations"),
    "alone": ("great_expectations", "pyarrow.dataset"),
    "by_hand": ("great_expectations", "pyarrow.dataset"),
}


def fill(lake: str, rows: int, first: int) -> Task:
    """Rows that the raw table has after those it has, and what is to be found in all of them."""
    from tradewind_runtime.lake import Lake
    from tradewind_runtime.sources.columns import PROVENANCE

    table, schema = Lake(lake).table(RAW), pa.schema([*SCHEMA, *PROVENANCE])
    for start in range(first, rows, FILE):
        table.commit(table.stage(_origin(start, min(FILE, rows - start), schema), schema), schema=schema)
    found = table.snapshot()
    failing = found.count(pc.field("delay") > MOST)
    return {"lake": lake, "rows": rows, "failing": failing, "version": found.version, "files": list(found.files)}


def _origin(start: int, rows: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows as ingestion leaves them."""
    for batch in batches(rows, first=start):
        came = [
            pa.repeat(pa.scalar(f"{start}.csv"), len(batch)),
            pc.subtract(batch["id"], start),
            pa.repeat(pa.scalar(FIRST, pa.int64()), len(batch)).cast(schema.field("_ingested").type),
        ]
        yield pa.RecordBatch.from_arrays([*batch.columns, *came], schema=schema)


def ours(task: Task) -> int:
    """The step that checks, as a run does it."""
    from tradewind_runtime.contract.refs import DatasetRef
    from tradewind_runtime.contract.request import StepRequest
    from tradewind_runtime.execute import execute

    source = f"flights_{os.getpid()}"  # each time a table of its own
    request = StepRequest(
        step="check", id="check_flights", pipeline="bench", run_id=source, lake=task["lake"],
        config={"source": source, "expectations": [dict(one) for one in SUITE]},
        inputs={"rows": DatasetRef(table=RAW, version=task["version"])},
    )  # fmt: skip
    metrics = execute(request).metrics
    assert metrics["failed_rows"] == task["failing"], metrics
    return int(metrics["rows"] + metrics["failed_rows"])


def alone(task: Task, target: str | None = None) -> int:
    """Great Expectations on one data frame, as its own guide has it; every row that fails is told, as the step needs.

    Args:
        task: which files.
        target: where the rows that pass are written, if anywhere.
    """
    import great_expectations as gx
    import numpy as np
    import pyarrow.dataset as ds
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    table = ds.dataset(task["files"], format="parquet").to_table(columns=SCHEMA.names)
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("flights")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table.to_pandas()})
    suite = gx.ExpectationSuite(name="flights")
    for one in SUITE:
        ((name, arguments),) = one.items()
        suite.add_expectation_configuration(ExpectationConfiguration(type=name, kwargs=arguments))
    told = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
    lists = [one.result.get("unexpected_index_list") for one in batch.validate(suite, result_format=told).results]
    failing = np.unique(np.concatenate([np.asarray(found or [], np.int64) for found in lists]))
    assert len(failing) == task["failing"], failing
    if target is not None:
        mask = np.ones(table.num_rows, dtype=bool)
        mask[failing] = False
        bare.written(table.filter(pa.array(mask)).to_batches(), SCHEMA, target)
    return int(table.num_rows)


def one(who: str, task: Task) -> measuring.Taken:
    """One peer in this process."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # before it is imported
    with tempfile.TemporaryDirectory(prefix="bench-checks-") as folder:
        work = {
            "ours": lambda: ours(task),
            "alone": lambda: alone(task),
            "by_hand": lambda: alone(task, str(Path(folder) / "passing.parquet")),
        }
        return measuring.taken(work[who], MODULES[who])


def main() -> int:
    """Both, and how they compare."""
    options = measuring.options(__doc__, 1_000_000, "peers")
    if options.one:
        print(json.dumps(one(options.one, json.loads(options.task))))
        return 0
    peers = options.only.split(",") if options.only else PEERS
    head = {"goal_times_alone": GOAL, "columns": len(SCHEMA), "expectations": len(SUITE)}
    with tempfile.TemporaryDirectory(prefix="bench-checks-") as folder:
        lake = (Path(folder) / "lake").as_uri()
        if options.growth:
            sizes = [options.rows * times for times in measuring.GROWTH]
            tasks = [fill(lake, rows, before) for before, rows in zip([0, *sizes], sizes, strict=False)]
            grown = measuring.grown("checks", peers, tasks, options.repeat)
            good = measuring.slowest(grown, "alone") <= GOAL
            write("checks_growth", {"ok": good, **head, "cases": {"suite": grown}})
            draw()
            return 0 if good else 1
        task = fill(lake, options.rows, 0)
        body = measuring.told(measuring.in_turns("checks", peers, task, options.repeat), options.rows)
    wall = body["wall"]
    body |= {f"times_{who}": round(wall["ours"] / wall[who], 3) for who in peers if who != "ours"}
    measuring.shown("suite", body)
    good = body.get("times_alone", GOAL) <= GOAL
    write("checks", {"ok": good, **head, "failing": task["failing"], "cases": {"suite": body}})
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""PostgreSQL to table, beside bare ADBC to one Parquet file, in one run and from one server of its own.

`python -m bench.postgresql [--rows 1000000] [--repeat 3] [--only whole,cursor]`. `whole`: all rows, in place of what
was there. `cursor`: the table holds the first half, and a run reads what lies beyond it. Each figure is of a process of
its own; results go to bench/results/postgresql.json. `--growth` reads ever more rows, for
bench/results/postgresql_growth.json and a chart.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import bare, measuring
from bench.charts import draw
from bench.measuring import Task
from bench.results import write

GOAL = 0.8  # of bare ADBC's speed
PEERS = ("ours", "bare")
CASES = ("whole", "cursor")
CONNECTION, TABLE, COLUMNS = "postgres_default", "flights", 11
MODULES = {
    "ours": (
        "tests.tradewind_runtime.steprun", "tradewind_runtime.steps.ingest", "tradewind_runtime.sources.sql",
        "adbc_driver_postgresql.dbapi",
    ),
    "bare": ("adbc_driver_postgresql.dbapi", "pyarrow.parquet"),
}  # fmt: skip

#: The server makes its rows itself, by their number.
FILL = """
CREATE TABLE {table} AS SELECT
  n AS id,
  timestamptz '2013-01-01 00:00:00+00' + n * interval '1 second' AS at,
  date '2013-01-01' + (n / 86400)::integer AS day,
  (ARRAY['UA', 'AA', 'DL', 'B6', 'EV', 'MQ', 'US', 'WN'])[(1 + n * 7919 % 8)::integer] AS carrier,
  (ARRAY['JFK', 'LGA', 'EWR'])[(1 + n * 104729 % 3)::integer] AS origin,
  (1 + n * 7919 % 5999)::integer AS flight,
  CASE WHEN n % 50 > 0 THEN (n * 7919 % 2000) / 10.0::double precision - 20 END AS delay,
  (80 + n * 104729 % 4920)::double precision AS distance,
  n * 7919 % 10 < 3 AS late,
  ((n * 7919 % 100000) / 100.0)::numeric(9, 2) AS fare,
  substr(md5(n::text), 1, 24) AS note
FROM generate_series(0::bigint, {rows} - 1) AS n
"""


def fill(server: Any, rows: int, table: str = TABLE) -> None:
    """So many rows, which have been looked at once: whoever reads them first writes who may see them."""
    server.run(
        FILL.format(table=table, rows=rows), f"ALTER TABLE {table} ADD PRIMARY KEY (id)", f"ANALYZE {table}",
        f"SELECT count(*) FROM {table}",  # noqa: S608
    )  # fmt: skip


def read_bare(task: Task, folder: Path) -> int:
    """ADBC's batches as they come."""
    import adbc_driver_postgresql.dbapi as driver

    where = {"whole": "TRUE", "cursor": f"id >= {task['first']} AND id < {task['first'] + task['rows']}"}[task["case"]]
    with driver.connect(os.environ["BENCH_POSTGRESQL"]) as session, session.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {task['table']} WHERE {where}")  # noqa: S608
        found = cursor.fetch_record_batch()
        return bare.written(found, found.schema, str(folder / "bare.parquet"))


def read_ours(task: Task, folder: Path, first: int, rows: int) -> int:
    """The step that ingests, as a run does it."""
    from tests.tradewind_runtime.steprun import ingest

    from tradewind_runtime import without_pandas
    from tradewind_runtime.contract.sources import Source

    without_pandas.leave_out()  # as the process of a run does
    by = {} if task["case"] == "whole" else {"cursor": "id"}
    end = {"id": first + rows - 1} if by else {"all": time.time_ns() // 1000}
    source = Source.model_validate({"sql": {"table": task["table"], **by}})
    lake = (folder / "lake").as_uri()
    return int(ingest(lake, source, end, connection=CONNECTION, run=f"r{first}").metrics["rows"])


def one(who: str, task: Task) -> measuring.Taken:
    """One peer in this process; what was read before is in its table."""
    with tempfile.TemporaryDirectory(prefix="bench-postgresql-") as name:
        folder, first = Path(name), int(task["first"])
        if who == "bare":
            return measuring.taken(lambda: read_bare(task, folder), MODULES[who])
        return measuring.taken(
            lambda: read_ours(task, folder, first, task["rows"]),
            MODULES[who],
            lambda: read_ours(task, folder, 0, first) if first else 0,
        )


def compare(case: str, rows: int, repeat: int) -> dict[str, Any]:
    """One case: the quickest of a few times of each, and how they compare."""
    first = rows // 2 if case == "cursor" else 0
    task = {"case": case, "table": TABLE, "first": first, "rows": rows - first}
    body = measuring.told(measuring.in_turns("postgresql", PEERS, task, repeat), rows - first)
    return measuring.shown(case, body | {"of_bare": round(body["wall"]["bare"] / body["wall"]["ours"], 3)})


def grow(case: str, server: Any, sizes: Sequence[int], repeat: int) -> dict[str, Any]:
    """Several tables that are read whole, or one up to several ids."""
    tables = {rows: f"{TABLE}_{rows}" if case == "whole" else TABLE for rows in sizes}
    for rows, table in tables.items() if case == "whole" else ((sizes[-1], TABLE),):
        fill(server, rows, table)
    tasks = [{"case": case, "table": table, "first": 0, "rows": rows} for rows, table in tables.items()]
    return measuring.grown("postgresql", PEERS, tasks, repeat)


def main() -> int:
    """Every case, or those that are named."""
    options = measuring.options(__doc__, 1_000_000, "cases")
    if options.one:
        print(json.dumps(one(options.one, json.loads(options.task))))
        return 0
    from tests.servers.postgresql import USER, PostgreSQL

    from tradewind.dev.running import start
    from tradewind_runtime.connections import variable

    names = options.only.split(",") if options.only else CASES
    head = {"goal_of_bare": GOAL, "columns": COLUMNS, "row_group": bare.ROW_GROUP}
    with (
        tempfile.TemporaryDirectory(prefix="bench-postgresql-") as folder,
        start(PostgreSQL.at(Path(folder))) as running,
    ):
        server = running.server
        os.environ[variable(CONNECTION)] = server.connections()[CONNECTION]
        address = f"{server.host}:{server.ports['sql']}/postgres"
        os.environ["BENCH_POSTGRESQL"] = f"postgresql://{USER}:{server.password}@{address}"
        if options.growth:
            sizes = [options.rows * times for times in measuring.GROWTH]
            grown = {name: grow(name, server, sizes, options.repeat) for name in names}
            good = all(measuring.slowest(one, "bare") * GOAL <= 1 for one in grown.values())
            write("postgresql_growth", {"ok": good, **head, "cases": grown})
            draw()
            return 0 if good else 1
        fill(server, options.rows)
        found = {name: compare(name, options.rows, options.repeat) for name in names}
    good = all(body["of_bare"] >= GOAL for body in found.values())
    write("postgresql", {"ok": good, **head, "cases": found})
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""The wait between two tasks, and what a step adds to its bare command.

The first is read from runs of the local stack (`make demo` leaves it up): from the end of the last upstream task to
the start of the next, for tasks that wait for no pool. The second starts a small step many times beside a script
that does the same by itself: read a table, call the user's function, write a table.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.results import write

RUNS = 9

BARE = """
import sys
import pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
pq.write_table(table.append_column("y", table["x"]), sys.argv[2])
"""
FUNCTION = """
def double(tables, context):
    table = tables["rows"]
    return table.append_column("y", table["x"])
"""


def main() -> None:
    """Both figures, with all that they were made from."""
    body: dict[str, Any] = {"step": _steps(), "between_tasks": _gaps()}
    step, gaps = body["step"], body["between_tasks"]
    print(f"a step adds {step['added']:.2f} s to its bare command of {step['bare']:.2f} s (goal: 0.5 s)")
    if gaps:
        print(f"between two tasks: {gaps['median']:.2f} s, median of {len(gaps['raw'])} (goal: 0.3 s)")
    else:
        print("between two tasks: not measured, since no stack is up (make demo leaves one)")
    write("latency", body)


def _steps() -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tradewind.plan.code import UserCode
    from tradewind_runtime.contract.refs import DatasetRef
    from tradewind_runtime.contract.request import CodeRef, StepRequest
    from tradewind_runtime.documents import Documents
    from tradewind_runtime.lake import Lake
    from tradewind_runtime.launchers.process import Launch

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = pa.table({"x": list(range(1000))})
        (root / "bare.py").write_text(BARE)
        pq.write_table(rows, root / "in.parquet")
        lake = Lake(f"file://{root}/lake")
        table = lake.table("bench/rows")
        version = table.commit(table.stage(rows.to_batches(), rows.schema), schema=rows.schema)
        code = UserCode({"include/models/bench_user.py": FUNCTION.encode()})
        lake.documents.create(f"code/{code.digest}.tar.gz", code.archive)
        documents = Documents(lake.root)

        def step(n: int) -> float:
            request = StepRequest(
                step="transform", id="transform", pipeline="bench", run_id=f"run{n}", lake=lake.root,
                config={"transform": {"python": {"function": "bench_user:double"}}, "output": f"features{n}"},
                inputs={"rows": DatasetRef(table="bench/rows", version=version)},
                code=CodeRef(archive=code.digest, closure=code.digest),
            )  # fmt: skip
            began = time.perf_counter()
            Launch(request, documents, sys.executable, on_line=lambda _: None).run()
            return time.perf_counter() - began

        def bare() -> float:
            began = time.perf_counter()
            command = [sys.executable, str(root / "bare.py"), str(root / "in.parquet"), str(root / "out.parquet")]
            subprocess.run(command, check=True)
            return time.perf_counter() - began

        step(-1), bare()
        pairs = [(step(n), bare()) for n in range(RUNS)]
    added = statistics.median(ours - theirs for ours, theirs in pairs)
    return {"added": added, "bare": statistics.median(theirs for _, theirs in pairs), "raw": pairs}


def _gaps() -> dict[str, Any] | None:
    from tradewind.demo.airflow import Airflow
    from tradewind.dev.credentials import credentials
    from tradewind.dev.servers.airflow import USER
    from tradewind.dev.stack import recorded_ports
    from tradewind.profile import home, load_profile, project_root

    place = home(project_root())
    try:
        url = f"http://{load_profile().host}:{recorded_ports(place)['airflow']}"
        airflow = Airflow(url, USER, credentials(place / "run").airflow_password)
    except (KeyError, OSError, RuntimeError) as error:
        print(f"no stack: {error}")
        return None
    found: list[float] = []
    for dag_id in sorted(airflow.dag_ids()):
        tasks = airflow.call("GET", f"/dags/{dag_id}/tasks")["tasks"]
        upstream = {
            t["task_id"]: [o["task_id"] for o in tasks if t["task_id"] in o["downstream_task_ids"]] for t in tasks
        }
        free = {t["task_id"] for t in tasks if t["pool"] == "default_pool"}
        for run in airflow.runs(dag_id):
            done = {t["task_id"]: t for t in airflow.tasks(dag_id, run["dag_run_id"]) if t["state"] == "success"}
            for id, task in done.items():
                before = [done[up]["end_date"] for up in upstream[id] if up in done]
                if id in free and before and len(before) == len(upstream[id]) and task["try_number"] == 1:
                    gap = datetime.fromisoformat(task["start_date"]) - max(map(datetime.fromisoformat, before))
                    found.append(gap.total_seconds())
    return {"median": statistics.median(found), "raw": sorted(found)} if found else None


if __name__ == "__main__":
    main()

"""Objects to table, beside bare pyarrow that reads and writes the same files, in one run.

`python -m bench.objects [--rows 1000000] [--repeat 3] [--only csv-small-s3,…] [--large 4] [--small 10000]`. Parquet,
CSV and JSON lines, as many small files and, with five times the rows and files, as a few large ones, in a folder and on
an S3 server; the table is in the same store. Both list the files first. Each figure is of a process of its own; results
go to bench/results/objects.json.
`--growth` reads ever more rows of large files, for bench/results/objects_growth.json and a chart.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from bench import bare, measuring
from bench.charts import draw
from bench.measuring import Task
from bench.results import among, read, write
from bench.rows import COLUMNS, SCHEMA, batches

GOAL = 0.8  # of bare pyarrow's speed
TIMES = {"large": 5, "small": 1}  # the rows and files: a third of a million rows' second is a step's start
PEERS = ("ours", "bare")
CASES = tuple("-".join(words) for words in product(("parquet", "csv", "json"), ("large", "small"), ("folder", "s3")))
GROWING = ("parquet-large-folder", "csv-large-folder", "json-large-folder")
CONNECTION, LANDING, LAKE = "s3_default", "landing", "lake"
MODULES = {
    "ours": (
        "tests.tradewind_runtime.steprun", "tradewind_runtime.steps.ingest", "tradewind_runtime.sources.objects",
        "tradewind_runtime.sources.stores.s3",
    ),
    "bare": ("pyarrow.dataset", "pyarrow.csv", "pyarrow.parquet"),
}  # fmt: skip


# The files --------------------------------------------------------------------------------------


def fill(case: str, rows: int, files: int, folder: str) -> None:
    """So many files with so many rows in all, each as many as the others."""
    kind, size = case.partition("-")[0], rows // files
    store = _store(case)
    if isinstance(store, pafs.LocalFileSystem):
        store.create_dir(_path(case, folder))

    def one(number: int) -> None:
        with store.open_output_stream(f"{_path(case, folder)}/{number:06}.{kind}") as out:
            WRITERS[kind](list(batches(size, first=number * size)), out)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(files)))


def _parquet(parts: Sequence[pa.RecordBatch], out: Any) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_batches(parts), out, compression="zstd", row_group_size=bare.ROW_GROUP)


def _csv(parts: Sequence[pa.RecordBatch], out: Any) -> None:
    import pyarrow.csv as pcsv

    pcsv.write_csv(pa.Table.from_batches(parts), out)


def _json(parts: Sequence[pa.RecordBatch], out: Any) -> None:
    for part in parts:
        texts = part.cast(_texts(SCHEMA))
        out.write("".join(json.dumps(row) + "\n" for row in texts.to_pylist()).encode())


def _texts(schema: pa.Schema) -> pa.Schema:
    """JSON has no times."""
    kinds = [pa.string() if pa.types.is_temporal(field.type) else field.type for field in schema]
    return pa.schema([field.with_type(kind) for field, kind in zip(schema, kinds, strict=True)])


WRITERS: Mapping[str, Callable[[Sequence[pa.RecordBatch], Any], None]] = {
    "parquet": _parquet, "csv": _csv, "json": _json,
}  # fmt: skip


def _store(case: str) -> pafs.FileSystem:
    """Arrow's view of where a case's files and tables are."""
    if case.endswith("folder"):
        return pafs.LocalFileSystem()
    from tradewind_runtime.connections import arrow_filesystem, connection, delta_options

    return arrow_filesystem(delta_options(connection(CONNECTION)))


def _path(case: str, folder: str, of: str = LANDING) -> str:
    """As Arrow wants it."""
    return f"{folder}/{of}/{case}" if case.endswith("folder") else f"{of}/{case}"


# Who reads them ---------------------------------------------------------------------------------


def read_bare(task: Task) -> int:
    """Arrow's own dataset, with as many threads as it takes by itself, to one Parquet file."""
    import pyarrow.csv as pcsv
    import pyarrow.dataset as ds

    case, folder = str(task["case"]), str(task["folder"])
    store, kind = _store(case), case.partition("-")[0]
    listed = store.get_file_info(pafs.FileSelector(_path(case, folder)))
    paths = sorted(info.path for info in listed)[: task["files"]]
    formats: dict[str, tuple[Any, pa.Schema]] = {
        "parquet": (ds.ParquetFileFormat(), SCHEMA),
        "csv": (ds.CsvFileFormat(convert_options=pcsv.ConvertOptions(strings_can_be_null=True)), SCHEMA),
        "json": (ds.JsonFileFormat(), _texts(SCHEMA)),  # which are cast
    }
    form, schema = formats[kind]
    found = ds.dataset(paths, schema=schema, format=form, filesystem=store).to_batches(batch_size=bare.ROW_GROUP)
    rows = (batch.cast(SCHEMA) for batch in found) if kind == "json" else found
    target = _path(case, folder, of=LAKE)
    if isinstance(store, pafs.LocalFileSystem):
        store.create_dir(target)
    return bare.written(rows, SCHEMA, f"{target}/bare-{os.getpid()}.parquet", store)


def read_ours(task: Task) -> int:
    """The step that ingests, as a run does it; the columns of texts are named, as a YAML should."""
    from tests.tradewind_runtime.steprun import ingest_request

    from tradewind_runtime import without_pandas
    from tradewind_runtime.connections import connection
    from tradewind_runtime.contract.sources import Source
    from tradewind_runtime.execute import execute
    from tradewind_runtime.lake import Lake
    from tradewind_runtime.sources import Access, objects

    without_pandas.leave_out()  # as the process of a run does
    case, folder = str(task["case"]), str(task["folder"])
    local, lake = case.endswith("folder"), f"{_path(case, folder, of=LAKE)}/{os.getpid()}"
    root, conn = (Path(lake).as_uri(), None) if local else (f"s3://{lake}", connection(CONNECTION))
    scheme = "file://" if local else "s3://"
    asked = {"uri": f"{scheme}{_path(case, folder)}/*", "connection": None if local else CONNECTION}
    source = Source.model_validate({"objects": asked, "columns": None if case.startswith("parquet") else COLUMNS})
    end = objects.end_position(source, Access(lake=Lake(root, conn), connection=conn))
    end = dict(list(end.items())[: task["files"]])
    request = ingest_request(root, source, end, connection=None if local else CONNECTION)
    if not local:
        request = request.model_copy(update={"connections": {**request.connections, "lake": CONNECTION}})
    return int(execute(request).metrics["rows"])


# All of it --------------------------------------------------------------------------------------


@contextmanager
def stores(cases: Sequence[str]) -> Iterator[str]:
    """A folder, and a server where a case wants one: its connection is in the environment."""
    from tests.servers import buckets

    from tradewind.dev.running import start
    from tradewind.dev.servers.s3 import S3
    from tradewind_runtime.connections import variable

    with tempfile.TemporaryDirectory(prefix="bench-objects-") as folder:
        if all(case.endswith("folder") for case in cases):
            yield folder
            return
        with start(S3.at(Path(folder) / "s3")) as running:
            os.environ[variable(CONNECTION)] = running.server.connections()[CONNECTION]
            for name in (LANDING, LAKE):
                buckets.make(running.server, name)
            yield folder


def compare(case: str, rows: int, files: int, folder: str, repeat: int) -> dict[str, Any]:
    """One case: the quickest of a few times of each, and how they compare."""
    rows = rows // files * files
    fill(case, rows, files, folder)
    task = {"case": case, "rows": rows, "files": files, "folder": folder}
    body = measuring.told(measuring.in_turns("objects", PEERS, task, repeat), rows)
    body |= {"files": files, "of_bare": round(body["wall"]["bare"] / body["wall"]["ours"], 3)}
    return measuring.shown(case, body)


def grow(case: str, rows: int, files: int, folder: str, repeat: int) -> dict[str, Any]:
    """Up to several numbers of files of one size."""
    size = rows // files
    fill(case, size * files * measuring.GROWTH[-1], files * measuring.GROWTH[-1], folder)
    tasks = [
        {"case": case, "rows": size * files * times, "files": files * times, "folder": folder}
        for times in measuring.GROWTH
    ]
    return measuring.grown("objects", PEERS, tasks, repeat)


def main() -> int:
    """Every case, or those that are named."""
    options = measuring.options(__doc__, 1_000_000, "cases", {"large": 4, "small": 10_000})
    if options.one:
        work, task = {"ours": read_ours, "bare": read_bare}[options.one], json.loads(options.task)
        print(json.dumps(measuring.taken(lambda: work(task), MODULES[options.one])))
        return 0
    names = options.only.split(",") if options.only else list(GROWING if options.growth else CASES)
    head = {"goal_of_bare": GOAL, "columns": len(SCHEMA), "row_group": bare.ROW_GROUP}
    with stores(names) as folder:
        if options.growth:
            grown = {name: grow(name, options.rows, options.large, folder, options.repeat) for name in names}
            good = all(measuring.slowest(one, "bare") * GOAL <= 1 for one in grown.values())
            write("objects_growth", {"ok": good, **head, "cases": grown})
            draw()
            return 0 if good else 1
        found = {}
        for name in names:
            size = name.split("-")[1]
            rows, files = TIMES[size] * options.rows, TIMES[size] * getattr(options, size)
            found[name] = compare(name, rows, files, folder, options.repeat)
    body = among(read("objects") if options.only else {}, found)
    good = all(case["of_bare"] >= GOAL for case in body["cases"].values())
    write("objects", {"ok": good, **head, **body})
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

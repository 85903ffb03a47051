"""The engine `beam` in the step's own process: the table that others give, users' errors, and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.tradewind_runtime.transformable import SCHEMA, START, House, python, sql

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.execute import execute

MODEL = """
from __future__ import annotations
from datetime import datetime
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from m_helper import twice

class Row(NamedTuple):
    t: datetime
    n: int
    s: str | None

def made(row, context) -> Row:
    return Row(row["t"], twice(row["n"]), row["s"] if row["n"] % 2 else None)

def typed(pipeline, tables, context):
    assert context.range.start < context.window.start
    return tables["rows"] | beam.Map(made, context).with_output_types(Row)

def beam_rows(pipeline, tables, context):
    return tables["rows"] | beam.Map(lambda row: beam.Row(n=int(row["n"]), day=str(row["t"])[:10]))

def schema(pipeline, tables, context):
    rows = tables["rows"] | beam.Filter(lambda row: row["n"] >= context.args.get("least", 0))
    kept = rows | beam.Map(lambda row: {"t": row["t"], "n": row["n"]})
    return kept, pa.schema([("t", pa.timestamp("us", "UTC")), ("n", pa.int64())])

def beyond(pipeline, tables, context):
    rows = tables["rows"] | beam.Map(lambda row: {"t": row["t"], "until": context.args["until"]})
    return rows, pa.schema([("t", pa.timestamp("us", "UTC")), ("until", pa.timestamp(context.args["unit"]))])

def by_day(pipeline, tables, context):
    moments = tables["rows"] | beam.Map(lambda row: beam.window.TimestampedValue(row["n"], row["t"].timestamp()))
    windows = moments | beam.WindowInto(beam.window.FixedWindows(24 * 3600))
    summed = windows | beam.CombineGlobally(sum).without_defaults()
    def told(total, when=beam.DoFn.WindowParam):
        return {"t": when.start, "total": total}
    return summed | beam.Map(told), pa.schema([("t", pa.timestamp("us", "UTC")), ("total", pa.int64())])

def plain(pipeline, tables, context):
    return tables["rows"] | beam.Map(dict)

def number(pipeline, tables, context):
    return 7

def wrong(pipeline, tables, context):
    kind = context.args["kind"]
    def spoil(row):
        if kind == "error":
            return {}["nothing"]
        if kind == "type":
            return Row(row["t"], "many", row["s"])
        if kind == "stray":
            return {"t": row["t"], "n": 1, "s": "", "m": 2}
        return (row["t"], 1, "")
    return tables["rows"] | beam.Map(spoil).with_output_types(Row)

def unknown(pipeline, tables, context):
    return tables["rows"] | beam.Map(lambda row: beam.Row(t=row["t"], n=1))

class Lost(NamedTuple):
    t: datetime
    price: Decimal

def lost(pipeline, tables, context):
    return tables["rows"] | beam.Map(lambda row: Lost(row["t"], 1)).with_output_types(Lost)

def construction(pipeline, tables, context):
    return tables["nothing"] | beam.Map(dict)

def ours(tables, context):
    rows = tables["rows"]
    odd = pc.equal(pc.bit_wise_and(rows["n"], 1), 1)
    return pa.table({"t": rows["t"], "n": pc.multiply(rows["n"], 2), "s": pc.if_else(odd, rows["s"], None)})
"""
HELPER = "def twice(n):\n    return 2 * n\n"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "a lake")


def beam(function: str, **args: Any) -> dict[str, Any]:
    return {"beam": {"function": f"m_beam:{function}", "args": args}}


def code(house: House) -> Any:
    return house.code(m_beam=MODEL, m_helper=HELPER)


def run(house: House, function: str, *, day: int = 10, **more: Any) -> Any:
    args = more.pop("args", {})
    return house.run(beam(function, **args), day, code=code(house), **more)


def test_three_engines_give_the_same_table(house: House) -> None:
    request = house.request(beam("typed"), code=code(house))
    late = {"t": [START + timedelta(days=8)], "n": [0], "s": ["late"], "_source": ["x"], "_position": [0]}
    house.add(pa.table(late, SCHEMA))  # after the pin: not seen
    tables = [house.rows(execute(request))]
    assert len(house.features.snapshot().files) == 6  # a day each
    query = "SELECT t, n * 2 AS n, CASE WHEN n % 2 = 1 THEN s END AS s FROM rows WHERE s <> 'late'"
    tables.append(house.rows(house.run(sql(query))))
    python_code = house.code(m_ours=MODEL.replace("import apache_beam as beam", "").replace("from m_helper", "#"))
    old = request.inputs
    tables.append(
        house.rows(execute(house.request(python("m_ours:ours"), code=python_code).model_copy(update={"inputs": old})))
    )
    assert tables[0].num_rows == 144
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_schema_beside_plain_rows(house: House, threads: int) -> None:
    result = run(house, "schema", settings={"beam": {"threads": threads}}, args={"least": 200})
    rows = house.rows(result)
    assert rows["n"].to_pylist() == [*range(200, 240)]
    assert rows.schema.types == [pa.timestamp("us", "UTC"), pa.int64()]
    assert "m_beam" not in sys.modules  # another request's code may have a module of that name


def test_rows_that_beam_knows_itself_and_no_split_by_time(house: House) -> None:
    result = run(house, "beam_rows", split=None)
    rows = house.features.snapshot(result.outputs["features"].version).to_arrow()
    assert sorted(rows["n"].to_pylist()) == [*range(480)]
    assert rows.schema == pa.schema([("n", pa.int64()), ("day", pa.string())])
    assert len(house.features.snapshot().files) == 1


def test_a_users_windows_end_where_rows_are_written(house: House) -> None:
    rows = house.rows(run(house, "by_day"))
    assert rows["t"].to_pylist() == [START + timedelta(days=day) for day in range(4, 10)]
    assert rows["total"].to_pylist() == [sum(range(24 * day, 24 * day + 24)) for day in range(4, 10)]


@pytest.mark.parametrize(
    ("function", "args", "problem", "says"),
    [
        ("wrong", {"kind": "error"}, "TW545", 'transform function m_beam:wrong: KeyError: "nothing"'),
        ("construction", {}, "TW545", "transform function m_beam:construction: KeyError: 'nothing'"),
        ("wrong", {"kind": "type"}, "TW547", "a row whose 'n' is not the declared int64"),
        ("wrong", {"kind": "stray"}, "TW547", "columns that are not declared: m"),
        ("wrong", {"kind": "tuple"}, "TW547", "without the declared column 't': it is a tuple"),
        ("plain", {}, "TW547", "declares no columns"),
        ("unknown", {}, "TW547", "declares the column 't' as Any"),
        ("lost", {}, "TW547", "declares Lost, of which a type is not found: name 'Decimal' is not defined"),
        ("number", {}, "TW547", "is a int"),
        ("beyond", {"unit": "us", "until": 2**63 - 1}, "TW547", "has a time in 'until' beyond the years"),
        ("beyond", {"unit": "s", "until": 2**62}, "TW547", "has a value in 'until' that timestamp[us] does not"),
        ("schema", {"least": 9999}, "TW547", "no rows between 2013-01-05 00:00 and 2013-01-11 00:00"),
        ("absent", {}, "TW545", "include/models/m_beam.py has no function 'absent'"),
    ],
)
def test_errors_are_told_in_a_line(house: House, function: str, args: dict[str, Any], problem: str, says: str) -> None:
    with pytest.raises(StepError) as caught:
        run(house, function, args=args)
    [found] = caught.value.problems
    assert (found.code, caught.value.retryable) == (problem, False)
    assert says in found.message
    assert "while running" not in found.message
    assert not house.features.exists()


@pytest.mark.parametrize(
    ("function", "text"), [("wrong", 'return {}["nothing"]'), ("construction", 'tables["nothing"]')]
)
def test_the_line_of_the_users_file_is_found(house: House, function: str, text: str) -> None:
    with pytest.raises(StepError) as caught:
        run(house, function, args={"kind": "error"})
    [found] = caught.value.problems
    line = 1 + next(number for number, one in enumerate(MODEL.splitlines()) if text in one)
    assert (found.file, found.line) == ("include/models/m_beam.py", line)


SLOW = """
import os, time
import apache_beam as beam
import pyarrow as pa

def slow(pipeline, tables, context):
    def wait(row):
        if row["n"] == 150 and not os.path.exists(context.args["ready"]):
            open(context.args["ready"], "w").close()
            time.sleep(120)
        return {"t": row["t"], "n": row["n"]}
    return tables["rows"] | beam.Map(wait), pa.schema([("t", pa.timestamp("us", "UTC")), ("n", pa.int64())])
"""


def test_killed_and_tried_again_it_commits_once(house: House, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    request = house.request(
        {"beam": {"function": "m_slow:slow", "args": {"ready": str(ready)}}}, code=house.code(m_slow=SLOW)
    )
    house.lake.documents.put("requests/slow.json", request.model_dump_json().encode())
    words = [sys.executable, "-m", "tradewind_runtime", "--lake", house.lake.root, "--request", "requests/slow.json"]
    step = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not ready.exists() and step.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert step.poll() is None
    finally:
        os.kill(step.pid, signal.SIGKILL)
        step.wait(timeout=10)
    assert not house.features.exists()
    result = execute(request)
    assert result.metrics["rows"] == 144
    assert execute(request).outputs == result.outputs
    assert [commit.told.get("step") for commit in house.features.history()].count(request.fingerprint) == 1
    assert house.features.snapshot().count() == 144
    assert [name for name in house.lake.documents.names("tables/p/features") if name.endswith("files.json")] == []

"""The step `transform`: each engine, each span once, and users' errors in a line."""

import errno
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.tradewind_runtime.transformable import SCHEMA, SETTINGS, START, House, python, sql

from tradewind_runtime import lake, staging
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import spark as spark_engine
from tradewind_runtime.execute import execute
from tradewind_runtime.maintenance import vacuum
from tradewind_runtime.staging import cut_of
from tradewind_runtime.widening import fit


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "a lake")


DOUBLE = sql("SELECT t, n * 2 AS n FROM rows")


def test_a_span_is_computed_cut_by_day_and_replaced_once(house):
    first = house.run(DOUBLE)
    assert first.metrics == {"rows": 144, "columns": 2}
    rows = house.rows(first)
    assert (rows["t"][0].as_py(), rows["n"].to_pylist()) == (START + timedelta(days=4), [*range(192, 480, 2)])
    assert len(house.features.snapshot().files) == 6
    version = house.features.version()
    house.run(DOUBLE, refresh="again")  # a new fingerprint: the same span, replaced
    assert house.features.version() > version
    assert house.features.snapshot().count() == 144
    later = house.run(DOUBLE, day=12)
    assert later.metrics["rows"] == 144
    assert sorted(house.rows(later)["n"].to_pylist()) == [*range(192, 576, 2)]
    assert house.rows(first).num_rows == 144  # the pinned version stays what it was


def test_a_kill_after_the_commit_adds_nothing_twice(house, monkeypatch):
    request = house.request(DOUBLE)
    with monkeypatch.context() as patch:
        patch.setattr("tradewind_runtime.steps.transform._outcome", lambda *_: sys.exit(1))
        with pytest.raises(SystemExit):
            execute(request)
    version = house.features.version()
    house.run(DOUBLE, day=12)
    result = execute(request)
    assert result.outputs["features"].version == version
    assert house.rows(result).num_rows == 144


def test_no_transform_takes_the_only_source_without_provenance(house):
    result = house.run(None, split=None)
    assert house.rows(result).column_names == ["t", "n", "s"]
    assert result.metrics["rows"] == 480
    house.run(None, split=None, refresh="again")
    assert house.features.snapshot().count() == 480


def test_a_query_sees_the_windows_ends_and_gets_plain_numbers(house):
    query = """SELECT t, sum(n) OVER (ORDER BY t) AS total, CAST(n % 7 AS UTINYINT) AS small,
               t >= getvariable('window_start') AS inside, getvariable('range_start') AS first FROM rows"""
    rows = house.rows(house.run(sql(query)))
    assert [str(kind) for kind in rows.schema.types] == [
        "timestamp[us, tz=UTC]",
        "double",
        "int16",
        "bool",
        "timestamp[us, tz=UTC]",
    ]
    assert sum(rows["inside"].to_pylist()) == 24
    assert rows["first"][0].as_py() == START + timedelta(days=4)
    assert rows["total"][0].as_py() == sum(range(97))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd does not exist"),
        ("SELECT 1; DROP TABLE rows", "not one SELECT"),
        ("COPY rows TO 'x.csv'", "not one SELECT"),
        ("SET threads = 8", "not one SELECT"),
        ("SELECT t, nn FROM rows", 'Candidate bindings.*"n"'),
        ("SELECT t, n FROM job", "job does not exist"),  # a variable of the engine's Python
        ("SELECT t, CAST(s AS INT) AS n FROM rows", "Could not convert string"),
    ],
)
def test_a_query_reaches_its_tables_only_and_its_errors_are_told(house, query, says):
    with pytest.raises(StepError, match=says) as caught:
        house.run(sql(query))
    assert caught.value.problems[0].code == "TW545"
    assert not caught.value.retryable
    assert not house.features.exists()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT t, CASE WHEN n = 200 THEN CAST(s AS INT) ELSE 1 END AS n FROM rows", "Could not convert string"),
        ("SELECT t, CASE WHEN n = 200 THEN error('an own one') ELSE n END AS n FROM rows", "an own one"),
        ("SELECT t, CASE WHEN n = 200 THEN n * 9223372036854775807 ELSE n END AS n FROM rows", "Overflow"),
    ],
)
def test_an_error_of_a_late_row_is_told_as_that_of_the_first(house, query, says):
    with pytest.raises(StepError, match=f"TW545: transform.sql: .*{says}") as caught:
        house.run(sql(query))
    assert not caught.value.retryable
    assert not house.features.exists()


@pytest.mark.parametrize("day", [1, 9])
def test_a_source_that_cannot_be_read_is_no_error_of_the_query(house, day):
    """It may be there the next time: of the first rows, and of later ones."""
    asked = house.request(DOUBLE)
    (file,) = (one for one in house.lake.table("p/rows").snapshot().files if cut_of(one) == f"2013-01-{day:02d}")
    there = Path(file).read_bytes()
    Path(file).write_bytes(there[:50])
    with pytest.raises(Exception, match=re.escape(file)) as caught:
        execute(asked)
    assert not isinstance(caught.value, StepError)
    Path(file).write_bytes(there)
    assert execute(asked).metrics["rows"] == 144


def full(*_given):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_no_error_of_the_query(house, monkeypatch):
    monkeypatch.setattr(staging._Files, "add", full)
    with pytest.raises(OSError, match="No space left"):
        house.run(DOUBLE)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT * FROM rows", "reserved columns: _source, _position"),
        ("SELECT n FROM rows", "no column 't' of times"),
        ("SELECT s AS t, n FROM rows", "no column 't' of times"),
        ("SELECT t, n FROM rows WHERE n < 3", "no rows between 2013-01-05 00:00 and 2013-01-11 00:00"),
        ("SELECT t, NULL::INTERVAL AS i FROM rows", "which a table cannot hold"),
    ],
)
def test_a_result_that_cannot_be_used_is_refused(house, query, says):
    with pytest.raises(StepError, match=says) as caught:
        house.run(sql(query), day=10)
    assert caught.value.problems[0].code == "TW547"
    assert not house.features.exists()


def test_a_tables_types_are_kept_or_the_change_is_refused(house):
    house.run(sql("SELECT t, n::DOUBLE AS n FROM rows"))
    result = house.run(sql("SELECT t, n::INT AS n, 1 AS extra FROM rows"), day=12)
    assert str(house.rows(result).schema.field("n").type) == "double"
    assert house.rows(result)["extra"].null_count == 48
    with pytest.raises(StepError, match="has 'n' as string, which the table 'p/features' has as double"):
        house.run(sql("SELECT t, s AS n FROM rows"))
    with pytest.raises(StepError, match="TW547: the transform's result has columns twice: N"):  # n, to a table
        house.run(sql('SELECT t, n AS "N" FROM rows'), day=12)


MOMENT = pa.timestamp("us", "UTC")
NARROW = pa.schema([("i", pa.int32()), ("f", pa.float32()), ("d", pa.date32())])
WIDE = pa.schema([("i", pa.int64()), ("f", pa.float64()), ("d", MOMENT)])


def narrow(house: House) -> None:
    """All of its rows, and columns that ingestion will widen."""
    given = house.lake.table("p/rows").snapshot().to_arrow()
    for name, values in (("i", given["n"]), ("f", given["n"]), ("d", given["t"])):
        given = given.append_column(name, values.cast(NARROW.field(name).type, safe=False))
    table = house.lake.table("p/rows")
    table.commit(table.stage(given.to_batches(), given.schema, cut_by="t"), schema=given.schema, replace="all")


@pytest.mark.parametrize("transform", [None, sql("SELECT * EXCLUDE (_source, _position) FROM rows")])
def test_a_source_that_was_widened_widens_the_features(house, monkeypatch, transform):
    narrow(house)
    first = house.run(transform)
    fit(house.lake.table("p/rows"), WIDE)
    request = house.request(transform, day=12)
    with monkeypatch.context() as patch:
        patch.setattr(lake.Table, "commit", lambda *_given, **_more: sys.exit(1))
        with pytest.raises(SystemExit):
            execute(request)
    second = execute(request)
    assert second.metrics["rows"] == 144
    before, after = house.rows(first), house.rows(second)
    assert [before.schema.field(name).type for name in NARROW.names] == NARROW.types
    assert [after.schema.field(name).type for name in WIDE.names] == WIDE.types
    assert (before["i"].to_pylist(), after["i"].to_pylist()) == ([*range(96, 240)], [*range(96, 288)])
    assert after["d"].to_pylist() == [one.replace(hour=0) for one in after["t"].to_pylist()]
    told = [commit.told["widened"] for commit in house.features.history() if "widened" in commit.told]
    assert told == [{"i": "int64", "f": "double", "d": "timestamp[us, tz=UTC]"}]
    with pytest.raises(StepError, match=r"TW547: .* has 'd' as date32.*, which the table .* has as timestamp"):
        house.run(sql("SELECT t, d::DATE AS d FROM rows"), day=12)


def test_numbers_that_a_wider_type_would_round_keep_theirs(house):
    house.run(sql(f"SELECT t, n + {2**53} AS n FROM rows"))
    version = house.features.version()
    with pytest.raises(StepError, match="TW519: table 'p/features' cannot take the new types") as caught:
        house.run(sql("SELECT t, n / 2 AS n FROM rows"), day=12)
    assert not caught.value.retryable
    assert house.features.version() == version


MODEL = """
import pyarrow as pa
import pyarrow.compute as pc

def make(tables, context):
    rows = tables["rows"].select(["t", "n"])
    assert context.range.start < context.window.start
    return rows.set_column(1, "n", pc.multiply(rows["n"], context.args["times"]))

def days(tables, context):
    return pa.table({"t": pc.cast(tables["rows"]["t"], pa.date32()), "n": tables["rows"]["n"]})

def polars(tables, context):
    import polars
    return polars.from_arrow(tables["rows"].select(["t", "s"]))

def broken(tables, context):
    return {}["nothing"]

def listed(tables, context):
    return [1, 2]
"""


GIVEN = """
import duckdb
import pandas as pd
import pyarrow as pa

def frame(tables, context):
    return pd.DataFrame({"t": tables["rows"]["t"].to_pandas(), **context.args})

def wide(tables, context):
    return pd.DataFrame([[1, 2], [3, 4]], columns=["n", "n"])

def chunks(tables, context):
    return tables["rows"]["t"]

def late(tables, context):
    rows = tables["rows"].select(["t", "n"])

    def batches():
        yield from rows.slice(0, 300).to_batches()
        raise KeyError("late")

    return pa.RecordBatchReader.from_batches(rows.schema, batches())

def relation(tables, context):
    rows = tables["rows"]
    return duckdb.connect().from_arrow(rows).project("t, CASE WHEN n = 200 THEN CAST(s AS INT) ELSE 1 END AS n")

def early(tables, context):
    return duckdb.connect().from_arrow(tables["rows"]).project("t, CAST(s AS INT) AS n")
"""


@pytest.mark.parametrize(
    ("function", "code", "says"),
    [
        ("frame", "TW547", "is a DataFrame that makes no table: .*Conversion failed for column s with type object"),
        ("wide", "TW547", "has columns twice: n"),
        ("chunks", "TW547", "is a ChunkedArray that makes no table: "),
        ("late", "TW545", "transform function m_given:late: KeyError: 'late'"),
        ("relation", "TW545", "transform function m_given:relation: .*Could not convert string"),
        ("early", "TW545", "transform function m_given:early: .*Could not convert string"),
    ],
)
def test_a_function_whose_result_makes_no_table_is_told_once(house, function, code, says):
    args = {"s": [1, "b"] * 240} if function == "frame" else {}
    with pytest.raises(StepError, match=f"{code}: .*{says}") as caught:
        house.run(python(f"m_given:{function}", **args), code=house.code(m_given=GIVEN))
    assert not caught.value.retryable
    assert caught.value.problems[0].line == (20 if function == "late" else None)
    assert not house.features.exists()


def test_a_full_disk_is_no_error_of_the_function(house, monkeypatch):
    monkeypatch.setattr(staging._Files, "add", full)
    with pytest.raises(OSError, match="No space left"):
        house.run(python("m_days:days"), code=house.code(m_days=MODEL))


NESTED = """
import pyarrow as pa

AT = pa.timestamp("ns", "Europe/Zurich")

def make(tables, context):
    moments = tables["rows"]["t"].to_pylist()
    seen = pa.array([[{"at": one, "n": 200}] for one in moments], pa.list_(pa.struct([("at", AT), ("n", pa.uint8())])))
    return pa.table({"t": tables["rows"]["t"].cast(AT), "seen": seen})

def fine(tables, context):
    t = tables["rows"]["t"]
    return pa.table({"t": t, "seen": pa.array([[1]] * len(t), pa.list_(AT))})

def large(tables, context):
    t = tables["rows"]["t"]
    return pa.table({"t": t, "n": pa.array([2**63] * len(t), pa.uint64())})

def gaps(tables, context):
    t = tables["rows"]["t"]
    return pa.table({"t": t, "seen": pa.array([[1]] * len(t), pa.list_(pa.duration("us")))})

def empty(tables, context):
    t = tables["rows"]["t"]
    return pa.table({"t": t, "seen": [[]] * len(t)})

def nothing(tables, context):
    t = tables["rows"]["t"]
    return pa.table({"t": t, "seen": [{"at": None}] * len(t)})
"""


def test_types_within_others_are_those_of_a_table_too(house):
    """Not by Delta's preview of nanoseconds, which Spark does not read; the same function then adds to the table."""
    code = house.code(m_nested=NESTED)
    house.run(python("m_nested:make"), code=code, day=10)
    rows = house.rows(house.run(python("m_nested:make"), code=code, day=12))
    held = pa.struct([("at", pa.timestamp("us", "UTC")), ("n", pa.int16())])
    assert rows.schema.types == [pa.timestamp("us", "UTC"), pa.list_(held)]
    assert all(row["seen"] == [{"at": row["t"], "n": 200}] for row in rows.to_pylist())


def test_lists_that_are_all_empty_are_of_the_type_that_the_table_has(house):
    code = house.code(m_nested=NESTED)
    house.run(python("m_nested:make"), code=code, day=10)
    rows = house.rows(house.run(python("m_nested:empty"), code=code, day=12))
    assert sorted(map(len, rows["seen"].to_pylist())) == [0] * 144 + [1] * 48
    with pytest.raises(StepError, match=r"TW547: .*'seen' of type struct<.*null"):
        house.run(python("m_nested:nothing"), code=code, day=12)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("fine", "has a value in 'seen' that list.* does not hold: .* lose data"),
        ("large", "has a value in 'n' that int64 does not hold: .* not in range"),
        ("gaps", "has the column 'seen' of type list.*, which a table cannot hold"),
        ("empty", "has the column 'seen' of type list.*null.*, which a table cannot hold"),
        ("nothing", "has the column 'seen' of type struct.*null.*, which a table cannot hold"),
    ],
)
def test_what_no_table_holds_is_refused_wherever_it_is(house, function, says):
    with pytest.raises(StepError, match=says) as caught:
        house.run(python(f"m_nested:{function}"), code=house.code(m_nested=NESTED))
    assert caught.value.problems[0].code == "TW547"
    assert not caught.value.retryable


TIMES = """
import pyarrow as pa

def make(tables, context):
    t = tables["rows"]["t"]
    kind = {"s": pa.timestamp("s"), "us": pa.timestamp("us", "UTC"), "day": pa.date32()}[context.args["unit"]]
    until = pa.array([context.args["at"]] * len(t), pa.int32() if kind == pa.date32() else pa.int64())
    return pa.table({"t": t, "until": until.cast(kind)})
"""


@pytest.mark.parametrize(
    ("until", "shown"),
    [
        ("'infinity'::TIMESTAMP", "9223372036854775807"),
        ("TIMESTAMP '30000-01-01'", "30000-01-01 00:00:00"),
        ("TIMESTAMPTZ '30000-01-01'", "30000-01-01 00:00:00"),
        ("TIMESTAMP_S '30000-01-01'", "30000-01-01 00:00:00"),
        ("DATE '30000-01-01'", "30000-01-01"),
        ("CASE WHEN n % 2 = 1 THEN DATE '0044-03-15 (BC)' ELSE DATE '2013-01-01' END", "-0043-03-15"),
    ],
)
def test_a_time_that_few_programs_read_is_refused(house, until, shown):
    with pytest.raises(StepError, match=f"has a time in 'until' beyond the years 1 to 9999: .*{shown}") as caught:
        house.run(sql(f"SELECT t, {until} AS until FROM rows"))
    assert (caught.value.problems[0].code, caught.value.retryable) == ("TW547", False)
    assert not house.features.exists()


@pytest.mark.parametrize(
    ("unit", "at", "says"),
    [
        ("us", 253_402_300_800_000_000, "a time in 'until' beyond the years 1 to 9999: 10000-01-01"),
        ("us", -62_135_596_800_000_001, "a time in 'until' beyond the years 1 to 9999: 0000-12-31"),
        ("day", 2_932_897, "a time in 'until' beyond the years 1 to 9999: 10000-01-01"),
        ("s", 10**13, "a value in 'until' that timestamp.us. does not hold"),  # else it were another year
    ],
)
def test_a_functions_times_are_held_to_the_same_years(house, unit, at, says):
    with pytest.raises(StepError, match=says) as caught:
        house.run(python("m_times:make", unit=unit, at=at), code=house.code(m_times=TIMES))
    assert (caught.value.problems[0].code, caught.value.retryable) == ("TW547", False)


def test_the_first_and_the_last_of_these_years_are_held_and_what_is_left_out_may_be_any(house):
    first, last = "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"
    query = f"SELECT t, '{first}'::TIMESTAMP AS low, '{last}'::TIMESTAMP AS high, NULL::DATE AS never FROM rows"
    rows = house.rows(house.run(sql(f"{query} UNION ALL SELECT 'infinity'::TIMESTAMP, NULL, NULL, NULL")))
    assert (str(rows["low"][0]), str(rows["high"][0]), rows.num_rows) == (first, last, 144)


def test_a_function_of_include_models_transforms(house):
    code = house.code(m_days=MODEL)
    rows = house.rows(house.run(python("m_days:make", times=3), code=code))
    assert rows["n"].to_pylist() == [*range(288, 720, 3)]
    assert house.run(python("m_days:days", times=3), code=code).metrics["rows"] == 144
    assert house.rows(house.run(python("m_days:polars"), code=code, refresh="p"))["s"][0].as_py() == "é"


@pytest.mark.parametrize(
    ("function", "says", "place"),
    [
        ("broken", "KeyError: 'nothing'", ("include/models/m_wrong.py", 18)),
        ("listed", "is a list", None),
        ("absent", "has no function 'absent'", None),
    ],
)
def test_a_functions_error_is_told_with_its_place(house, function, says, place):
    with pytest.raises(StepError, match=says) as caught:
        house.run(python(f"m_wrong:{function}"), code=house.code(m_wrong=MODEL))
    problem = caught.value.problems[0]
    assert place is None or (problem.file, problem.line) == place
    assert not caught.value.retryable


def test_beam_is_missed_in_a_line(house, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)  # also where it is there
    with pytest.raises(StepError, match="the step's environment has no apache_beam") as caught:
        house.run({"beam": {"function": "m_days:make"}}, code=house.code(m_days=MODEL))
    assert caught.value.problems[0].code == "TW546"
    assert not caught.value.retryable


# Spark -------------------------------------------------------------------------------------------

JOB = """
from pyspark.sql import functions as F
from helper import twice

@F.udf("long")
def by_python(n):
    return twice(n)

def transform(spark, tables, context):
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    rows = tables["rows"]
    assert set(rows.columns) == {"t", "n", "s", "_source", "_position"}, rows.columns
    return rows.select("t", by_python("n").alias("n"), "s", F.struct("n", "s").alias("both"),
                       F.dayofmonth("t").alias("day"), F.when(F.col("n") > 200, F.col("n")).alias("some"))
"""
WRONG = """
from pyspark.sql import functions as F

def transform(spark, tables, context):
    rows = tables["rows"]
    kind = context.args["kind"]
    if kind == "column":
        return rows.select("nothing")
    if kind == "python":
        return rows.select("t", F.udf(lambda n: 1 // (n - n), "long")("n").alias("n"))
    if kind == "jvm":
        return rows.select("t", F.expr("1 / (n - n)").alias("n"))
    if kind == "driver":
        return {}["key"]
    if kind == "list":
        return [1]
    return rows.select("t", "n").where("n < 3")
"""


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with spark_engine.session(SETTINGS["spark"], tmp_path_factory.mktemp("spark")) as session:
        yield session


def spark_job(name: str, **args) -> dict:
    return {"spark": {"job": f"spark_jobs/{name}.py", "args": args}}


def test_a_spark_job_reads_the_pinned_files_and_the_lake_commits(house, spark):
    code = house.code(job=JOB, helper="def twice(n):\n    return 2 * n\n")
    request = house.request(spark_job("job"), code=code)
    house.add(
        pa.table(
            {"t": [START + timedelta(days=8)], "n": [0], "s": ["late"], "_source": ["x"], "_position": [0]}, SCHEMA
        )
    )  # after the pin: not seen
    result = execute(request)
    assert "helper" not in sys.modules  # another request's code may have a module of that name
    rows = house.rows(result)
    assert rows["t"].to_pylist() == [START + timedelta(hours=n) for n in range(96, 240)]
    assert rows["n"].to_pylist() == [*range(192, 480, 2)]
    assert rows["both"][0].as_py() == {"n": 96, "s": "é"}
    assert rows["some"].null_count == 105
    assert rows["day"].to_pylist()[::24] == [5, 6, 7, 8, 9, 10]  # no folder's name took its place
    assert sorted(map(cut_of, house.features.snapshot().files)) == [f"2013-01-{day:02d}" for day in range(5, 11)]
    by_sql = house.run(sql("SELECT t, n FROM rows"), day=12)  # two engines, one table
    assert by_sql.metrics["rows"] == 145
    again = house.run(spark_job("job"), day=13, code=code)
    assert again.metrics["rows"] == 145
    frame = spark_engine.frame(spark, house.features.snapshot())  # and Spark reads what it left there
    assert frame.count() == house.features.snapshot().count()
    assert frame.selectExpr("to_date(min(t)) AS d").first()["d"] == date(2013, 1, 5)


@pytest.mark.parametrize(
    ("kind", "says", "line", "retryable"),
    [
        ("column", "`nothing` cannot be resolved", 8, False),
        ("python", "ZeroDivisionError: ", None, True),
        ("jvm", "DIVIDE_BY_ZERO", None, True),
        ("driver", "KeyError: 'key'", 14, False),
        ("list", "is a list", None, False),
        ("few", "no rows between", None, False),
    ],
)
def test_a_spark_jobs_error_is_told_with_its_place(house, spark, kind, says, line, retryable):  # noqa: PLR0917
    with pytest.raises(StepError, match=says) as caught:
        house.run(spark_job("wrong", kind=kind), code=house.code(wrong=WRONG))
    problem = caught.value.problems[0]
    assert line is None or (problem.file, problem.line) == ("spark_jobs/wrong.py", line)
    assert caught.value.retryable is retryable
    assert not house.features.exists()


SLOW = """
import time
from pathlib import Path
from pyspark.sql import functions as F

def transform(spark, tables, context):
    def wait(n):
        time.sleep(60)
        return n
    Path(context.args["ready"]).write_text("running")
    return tables["rows"].select("t", F.udf(wait, "long")("n").alias("n"))
"""


ALIKE = """
def transform(spark, tables, context):
    tables["rows"].createOrReplaceTempView("rows")
    return spark.sql(context.args["query"])
"""
BY_PYTHON = """
from datetime import timedelta
import pyarrow as pa
import pyarrow.compute as pc

def make(tables, context):
    rows = tables["rows"]
    t, n, s = rows["t"], rows["n"], rows["s"]
    odd = pc.equal(pc.bit_wise_and(n, 1), 1)
    return pa.table({"t": t, "n": n, "i": n.cast(pa.int32()), "f": pc.divide(n.cast(pa.float64()), 4.0),
                     "g": n.cast(pa.float32()), "s": s, "b": pc.greater(n, 200), "d": t.cast(pa.date32(), safe=False),
                     "later": pc.add(t, timedelta(seconds=1)), "price": n.cast(pa.decimal128(21, 2)),
                     "some": pc.if_else(odd, s, None)})
"""
#: In the words of DuckDB and of Spark alike.
KINDS = """SELECT t, n, CAST(n AS INT) AS i, n / CAST(4 AS DOUBLE) AS f, CAST(n AS FLOAT) AS g, s, n > 200 AS b,
    CAST(t AS DATE) AS d, t + INTERVAL 1 SECOND AS later, CAST(n AS DECIMAL(9, 2)) AS price,
    CASE WHEN n % 2 = 1 THEN s END AS some FROM rows"""


def test_three_engines_give_the_same_table(tmp_path, spark):
    assert spark
    by_sql, by_spark, by_function = (House(tmp_path / name) for name in ("sql", "spark", "python"))
    made = by_sql.rows(by_sql.run(sql(KINDS)))
    assert made.num_rows == 144
    assert made["some"].null_count == 72
    code = by_spark.code(alike=ALIKE)
    assert by_spark.rows(by_spark.run(spark_job("alike", query=KINDS), code=code)).equals(made)
    code = by_function.code(m_alike=BY_PYTHON)
    assert by_function.rows(by_function.run(python("m_alike:make"), code=code)).equals(made)


@pytest.mark.parametrize(
    ("kind", "least", "beyond"),
    [("DOUBLE", f"{2**53}", f"{2**53 + 1}"), ("FLOAT", f"CAST({2**24} AS INT)", f"CAST({-(2**24) - 1} AS INT)")],
)
def test_spark_rounds_no_whole_number_as_sql_does_not(house, spark, kind, least, beyond):
    assert spark
    code = house.code(alike=ALIKE)
    house.run(sql(f"SELECT t, CAST(n AS {kind}) AS n FROM rows"))
    one = "SELECT t, CASE WHEN n = 99 THEN {} END AS n FROM rows"
    assert house.run(spark_job("alike", query=one.format(least)), code=code).metrics["rows"] == 144
    wrong = one.format(beyond)
    for transform in (sql(wrong), spark_job("alike", query=wrong)):
        with pytest.raises(StepError, match=r"has a value in 'n' that (double|float) does not hold: .*") as caught:
            house.run(transform, code=code)
        assert re.search(r"-?\d{8,}", beyond)[0] in str(caught.value)
        assert (caught.value.problems[0].code, caught.value.retryable) == ("TW547", False)


def test_sparks_times_are_held_to_the_same_years(house, spark):
    assert spark
    code = house.code(alike=ALIKE)
    for until in ("make_date(30000, 1, 1)", "timestamp_seconds(884541340800)"):
        query = f"SELECT t, {until} AS until FROM rows"
        with pytest.raises(StepError, match="a time in 'until' beyond the years 1 to 9999: 30000-01-01") as caught:
            house.run(spark_job("alike", query=query), code=code)
        assert (caught.value.problems[0].code, caught.value.retryable) == ("TW547", False)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_step_takes_its_jvm_and_workers_along(house, tmp_path, how):
    ready = tmp_path / "ready"
    request = house.request(spark_job("slow", ready=str(ready)), code=house.code(slow=SLOW))
    house.lake.documents.put("requests/slow.json", request.model_dump_json().encode())
    step = subprocess.Popen(
        [sys.executable, "-m", "tradewind_runtime", "--lake", house.lake.root, "--request", "requests/slow.json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _until(lambda: ready.exists() or step.poll() is not None, 120)
        assert step.poll() is None
        time.sleep(2)  # workers are at it
        assert len(_session(step.pid)) > 1
        os.kill(step.pid, how)
        step.wait(timeout=30)
        _until(lambda: not _session(step.pid), 30)
        assert _session(step.pid) == []
    finally:
        for pid in _session(step.pid):
            os.kill(pid, signal.SIGKILL)
        step.wait(timeout=10)
    assert not house.features.exists()


def _until(done, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.1)


def _session(leader: int) -> list[int]:
    """Processes of the session that the step began: ps knows them wherever they were reparented to."""
    listed = subprocess.run(["ps", "-eo", "pid=,sid=,stat="], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, session, state in found if int(session) == leader and not state.startswith("Z")]


def test_rows_of_another_query_are_not_taken_for_those_that_are_gone(house, monkeypatch):
    """A query comes and goes, and upkeep has taken the rows that it made."""
    monkeypatch.setattr("tradewind_runtime.lake.YOUNGEST", 0)
    queries = [{"sql": {"query": f"SELECT t, n, '{made}' AS made FROM rows"}} for made in "AB"]
    first, _ = [house.run(query) for query in queries]
    vacuum(house.lake, "p/features", {}, days=0, dry_run=False)
    again = house.run(queries[0])
    assert set(house.rows(again)["made"].to_pylist()) == {"A"}
    assert again.outputs != first.outputs
    assert house.run(queries[0]) == again

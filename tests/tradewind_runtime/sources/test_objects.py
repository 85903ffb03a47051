"""Files and objects: each version once, bad rows out, nothing that is not what was pinned."""

import bz2
import gzip
import json
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from urllib.parse import quote

import obstore
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from obstore.store import S3Store
from tests.servers import buckets
from tests.tradewind_runtime.sources.project import Project
from tests.tradewind_runtime.sources.project import objects as of_objects
from tests.tradewind_runtime.steprun import end_of, ingest, rows

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.sources import SampleSource, Source
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources import listing, stores

COLUMNS = {"n": "long", "time": "timestamp", "temp": "double", "name": "string"}
JANUARY = Window(start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2013, 1, 3, tzinfo=UTC))


def source(uri: str, **more) -> Source:
    return of_objects(uri, **({"columns": COLUMNS} | more))


@pytest.fixture
def folder(tmp_path, lake_uri):
    return Project(tmp_path / "a project", lake_uri)


def test_csv_rows_come_typed_with_nulls_and_their_place(folder):
    folder.write(
        "data/a b.csv", "n,time,temp,other,name\n1,2013-01-01T05:00:00+01:00,NA,x,\n 2 ,2013-01-02,3.5,y,Ätna\n"
    )
    folder.ingest(source("data/*.csv"))
    first, second = sorted(rows(folder.lake), key=lambda row: row["_position"])
    assert first["time"] == datetime(2013, 1, 1, 4, tzinfo=UTC)
    assert (first["n"], first["temp"], first["name"]) == (1, None, None)
    assert (second["n"], second["temp"], second["name"]) == (2, 3.5, "Ätna")
    assert second["time"] == datetime(2013, 1, 2, tzinfo=UTC)
    assert (second["_source"], second["_position"]) == ("data/a b.csv", 1)
    assert "other" not in first


def test_bad_csv_rows_go_to_quarantine_with_their_number(folder):
    lines = [
        b"n,time,temp,name",
        b"0,2013-01-01,1,a",
        b"1,2013-01-01",
        b"x,2013-01-01,1,c",
        b"3,2013-01-01,1,d",
        b"4,never,1,e",
        b"5,2013-01-01,1,\xff",
        b"6,2013-01-01,1,g,h",
        b"7,2013-01-01,1,i",
    ]
    folder.write("x.csv", b"\n".join(lines))
    result = folder.ingest(source("x.csv", max_bad=10))
    refused = {row["position"]: row for row in rows(folder.lake, "flights_quarantine")}
    assert result.metrics == result.metrics | {"rows": 3, "bad": 5}
    assert sorted((row["_position"], row["n"]) for row in rows(folder.lake)) == [(0, 0), (3, 3), (7, 7)]
    assert {n: row["reason"] for n, row in refused.items()} == {
        1: "2 fields where 4 are expected",
        2: "column n: 'x' is not of type long",
        4: "column time: 'never' is not of type timestamp (ISO 8601)",
        5: "column name: not UTF-8",
        6: "5 fields where 4 are expected",
    }
    assert refused[6]["content"] == lines[7]
    assert refused[2]["content"] == lines[3]


def test_gz_parquet_and_json_lines(folder):
    folder.write("in/a.csv.gz", gzip.compress(b"n,name\n1,a\n"))
    pq.write_table(
        pa.table(
            {"n": pa.array([2], pa.int32()), "time": pa.array([datetime(2013, 1, 1, tzinfo=UTC)], pa.timestamp("ns"))}
        ),
        folder.path / "in/b.parquet",
    )
    folder.write("in/deep/c.jsonl", b'{"n":3}\n\n{"n":"x"}\n' + json.dumps({"n": 4, "temp": 1}).encode())
    folder.ingest(source("in/**", max_bad=3))
    assert folder.column() == [1, 2, 3, 4]
    assert {row["time"] for row in rows(folder.lake)} == {None, datetime(2013, 1, 1, tzinfo=UTC)}
    assert [row["position"] for row in rows(folder.lake, "flights_quarantine")] == [1]


PACKED = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "n,name\n{}\nx,a\n"), ("a.jsonl", '{}\n{{"n": "x", "name": "a"}}\n')],
    ids=["csv", "json"],
)
@pytest.mark.parametrize("count", [3, 40_000], ids=["small", "large"])
def test_every_compression(folder, suffix, name, content, count):
    """Small ones are parsed together, large ones as a stream; one that is cut off is told by its name."""
    lines = (f"{n},Ätna" if name == "a.csv" else json.dumps({"n": n, "name": "Ätna"}) for n in range(count))
    packed = PACKED[suffix](content.format("\n".join(lines)).encode())
    folder.write(f"in/{name}{suffix}", packed)
    folder.write(f"in/cut-{name}{suffix}", packed[: len(packed) // 2])
    with pytest.raises(StepError, match=f"TW527.*cut-{name}{suffix}"):
        folder.ingest(source("in/*", max_bad=1))
    found = sorted((row["_position"], row["n"], row["name"]) for row in rows(folder.lake))
    assert found == [(n, n, "Ätna") for n in range(count)]
    assert [row["position"] for row in rows(folder.lake, "flights_quarantine")] == [count]


def test_parquet_of_other_types_is_refused_row_by_row(folder):
    table = pa.table(
        {"n": pa.array([1.0, 2.5, None]), "time": pa.array([None, None, 5], pa.int64()), "name": [b"a", b"b", b"c"]}
    )
    pq.write_table(table, folder.path / "x.parquet")
    folder.ingest(source("x.parquet", max_bad=3))
    assert [(row["n"], row["name"]) for row in rows(folder.lake)] == [(1, "a")]
    assert sorted(row["position"] for row in rows(folder.lake, "flights_quarantine")) == [1, 2]


def test_types_are_inferred_from_the_first_object_and_kept(folder):
    any_csv = source("*.csv", columns=None, time="hour", max_bad=5)
    with pytest.raises(StepError, match="TW522"):
        folder.ingest(any_csv)
    folder.write("1.csv", "day,hour,tail num,seats,speed\n2013-01-01,2013-01-01 05:00:00,N1,5,NA\n")
    folder.ingest(any_csv)
    folder.write(
        "2.csv", "day,hour,seats,gate\n2013-01-02,2013-01-02 05:00:00,6,7\n2013-01-02,2013-01-02T05:00,six,8\n"
    )
    result = folder.ingest(any_csv)
    assert result.metrics == result.metrics | {"rows": 1, "bad": 1}
    found = sorted(rows(folder.lake), key=lambda row: row["seats"])
    wanted = {
        "day": date(2013, 1, 1),
        "hour": datetime(2013, 1, 1, 5, tzinfo=UTC),
        "tail_num": "N1",
        "seats": 5,
        "gate": None,
    }
    assert found[0] == found[0] | wanted
    assert found[1]["gate"] == 7


def test_each_object_is_read_once_and_dates_stand_for_the_window(folder):
    daily = source("w/{window.date}.csv")
    for day, n in (("2012-12-31", 0), ("2013-01-01", 1), ("2013-01-02", 2), ("2013-01-03", 3)):
        folder.write(f"w/{day}.csv", f"n\n{n}\n")
    with pytest.raises(StepError, match="TW514"):
        folder.ingest(daily)
    assert folder.ingest(daily, window=JANUARY).metrics["rows"] == 2
    assert folder.ingest(daily, window=JANUARY).metrics["rows"] == 0
    assert folder.column() == [1, 2]


def test_what_comes_late_for_its_date_is_read_by_the_runs_that_look_back(folder):
    def day(number: int) -> Window:
        return Window(start=datetime(2013, 1, number, tzinfo=UTC), end=datetime(2013, 1, number + 1, tzinfo=UTC))

    daily, back = source("w/{window.date}/*.csv"), source("w/{window.date}/*.csv", lookback="2d")
    for number in (1, 2):
        folder.write(f"w/2013-01-0{number}/a.csv", f"n\n{number}\n")
        folder.ingest(back, window=day(number))
    folder.write("w/2013-01-01/late.csv", "n\n10\n")
    folder.write("w/2013-01-03/a.csv", "n\n3\n")
    assert folder.end(daily, day(3)).keys() == {"w/2013-01-03/a.csv"}
    assert folder.ingest(back, window=day(3)).metrics["rows"] == 2
    folder.write("w/2013-01-01/later.csv", "n\n11\n")
    assert folder.ingest(back, window=day(4)).metrics["rows"] == 0, "too late for it"
    assert folder.column() == [1, 2, 3, 10]
    late = source("w/{window.date}/*.csv", lookback="2d", wait="1h").objects
    waiting = listing.Waiting({"w": late}, day(4).end)
    assert waiting.missing({"w": listing.Way(project=folder.path, window=day(4))}, day(4).end), "it is its own day's"


@pytest.mark.parametrize(
    ("uri", "keys"),
    [
        ("in/{window.date:%Y/%m/%d}/*.csv", ["in/2013/01/31/a.csv", "in/2013/02/01/a.csv"]),
        (
            "in/year={window.date:%Y}/month={window.date:%-m}/*.csv",
            ["in/year=2013/month=1/a.csv", "in/year=2013/month=2/a.csv"],
        ),
        ("in/{window.date:%d}0.csv", ["in/010.csv", "in/310.csv"]),
        ("file://FOLDER/in/%7Edir/{window.date:%Y%j}/{window.date}.csv", ["in/~dir/2013031/2013-01-31.csv"]),
    ],
)
def test_dates_are_written_as_their_format_says(folder, uri, keys):
    window = Window(start=datetime(2013, 1, 30, tzinfo=UTC), end=datetime(2013, 2, 2, tzinfo=UTC))
    others = ["in/2013/01/29/a.csv", "in/2013/01/a.csv", "in/year=2013/month=01/a.csv", "in/year=2013/month=3/a.csv"]
    for key in [*keys, *others]:
        folder.write(key, "n\n1\n")
    of = source(uri.replace("FOLDER", quote(str(folder.path))))
    found = folder.end(of, window)
    assert [key[key.index("in/") :] for key in found] == keys
    assert folder.ingest(of, found, window).metrics["rows"] == len(keys)


def test_a_prefix_of_several_days_is_listed_once(folder, monkeypatch):
    folder.write("in/2013/01/a.csv", "n\n1\n")
    listed, matching = [], stores.Place.matching
    monkeypatch.setattr(
        stores.Place, "matching", lambda self, pattern: listed.append(pattern) or matching(self, pattern)
    )
    year = Window(start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2013, 3, 1, tzinfo=UTC))
    assert folder.ingest(source("in/{window.date:%Y/%m}/*.csv"), window=year).metrics["rows"] == 1
    assert listed == ["in/2013/01/*.csv", "in/2013/02/*.csv"]


def test_an_object_that_was_written_again_gives_its_rows_anew(folder):
    every = source("*.csv")
    folder.write("a.csv", "n\n1\n2\n")
    folder.write("b.csv", "n\n3\n")
    folder.ingest(every)
    os.utime(folder.write("a.csv", "n\n7\n"), (1, 1))
    folder.ingest(every)
    assert folder.column() == [3, 7]
    os.utime(folder.write("a.csv", "n\n8\n"), (2, 2))
    folder.ingest(every)
    os.utime(folder.write("a.csv", "n\n7\n"), (1, 1))
    folder.ingest(every)
    assert folder.column() == [3, 7], "also back to what it once was"
    assert folder.ingest(every).metrics["rows"] == 0


def test_replace_puts_the_newest_object_in_the_place_of_all(folder):
    newest = source("p/*.csv", mode="replace")
    os.utime(folder.write("p/2.csv", "n\n1\n2\n"), (1, 1))
    os.utime(folder.write("p/1.csv", "n\n3\n"), (2, 2))
    folder.ingest(newest)
    assert folder.column() == [3]
    os.utime(folder.write("p/0.csv", "n\n4\n5\n"), (3, 3))
    before = Lake(folder.lake).table("demo/flights_raw").version()
    folder.ingest(newest)
    assert folder.column() == [4, 5]
    assert Lake(folder.lake).table("demo/flights_raw").version() == before + 1, "in one commit"
    assert folder.ingest(newest).metrics["rows"] == 0


@pytest.mark.parametrize(
    ("change", "how"), [(lambda path: path.unlink(), "vanished"), (lambda path: path.write_text("n\n99\n"), "changed")]
)
def test_what_is_not_what_was_pinned_is_an_error(folder, change, how):
    path = folder.write("a.csv", "n\n1\n")
    end = folder.end(source("a.csv"))
    change(path)
    with pytest.raises(StepError, match=f"TW526: a.csv {how}"):
        folder.ingest(source("a.csv"), end)
    assert rows(folder.lake) == []


@pytest.mark.parametrize("content", [b"", b"n,time\n", b"n"])
def test_an_empty_object_is_no_rows_and_no_error(folder, content):
    folder.write("a.csv", content)
    assert folder.ingest(source("a.csv")).metrics["rows"] == 0
    folder.write("b.csv", "n\n1\n")
    folder.ingest(source("*.csv"))
    assert folder.column() == [1]


def test_a_file_that_is_no_table_is_told_by_name(folder):
    folder.write("a.parquet", b"nonsense")
    with pytest.raises(StepError, match=r"TW527: a\.parquet cannot be read"):
        folder.ingest(source("a.parquet"))
    folder.write("a.csv.gz", b"nonsense")
    with pytest.raises(StepError, match="TW527"):
        folder.ingest(source("a.csv.gz"))
    folder.write("a.xlsx", b"nonsense")
    with pytest.raises(StepError, match="cannot be told by its name"):
        folder.ingest(source("a.xlsx"))


def test_a_kill_between_quarantine_and_rows_doubles_neither(folder, monkeypatch):
    from tradewind_runtime.lake import Table

    commit = Table.commit

    def dies(self, files, **more):
        if self.name.endswith("_raw"):
            raise KeyboardInterrupt
        return commit(self, files, **more)

    folder.write("a.csv", "n\n1\nx\n")
    with monkeypatch.context() as patch:
        patch.setattr(Table, "commit", dies)
        with pytest.raises(KeyboardInterrupt):
            folder.ingest(source("*.csv", max_bad=3))
    assert len(rows(folder.lake, "flights_quarantine")) == 1
    assert rows(folder.lake) == []
    folder.write("b.csv", "n\ny\n2\n")
    folder.ingest(source("*.csv", max_bad=3))
    assert folder.column() == [1, 2]
    assert sorted(row["content"] for row in rows(folder.lake, "flights_quarantine")) == [b"x", b"y"]


def test_event_time_may_be_a_date_and_must_be_a_time(folder):
    folder.write("a.csv", "n,time\n1,2012-12-31\n2,2013-01-01\n3,\n")
    dated = source("a.csv", columns={"n": "long", "time": "date"}, time="time")
    assert folder.ingest(dated, window=JANUARY).metrics["late"] == 1
    assert folder.column() == [1, 2, 3]
    for columns in ({"n": "long"}, {"n": "long", "time": "string"}):
        with pytest.raises(StepError, match="TW527"):
            folder.ingest(source("a.csv", columns=columns, time="time"))


def test_samples_come_once_with_safe_names(lake_uri):
    iris = Source(sample=SampleSource(name="iris"))
    assert ingest(lake_uri, iris, end_of(lake_uri, iris)).metrics["rows"] == 150
    assert ingest(lake_uri, iris, end_of(lake_uri, iris), run="r2").metrics["rows"] == 0
    found = rows(lake_uri)
    assert set(found[0]) == {
        "sepal_length_cm",
        "sepal_width_cm",
        "petal_length_cm",
        "petal_width_cm",
        "target",
        "_source",
        "_position",
        "_ingested",
    }
    assert {row["target"] for row in found} == {0, 1, 2}


# S3 ------------------------------------------------------------------------------------------


class Bucket:
    def __init__(self, server, monkeypatch):
        self.store = S3Store(
            "weather",
            endpoint=server.address,
            region="us-east-1",
            access_key_id=server.key,
            secret_access_key=server.secret,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )
        self.text = next(iter(server.connections().values()))
        monkeypatch.setenv("AIRFLOW_CONN_S3_DEFAULT", self.text)
        buckets.make(server, "weather")

    def ingest(self, lake, of, run, end=None):
        conn = Connection.parse("s3_default", self.text)
        end = end_of(lake, of, connection=conn) if end is None else end
        return ingest(lake, of, end, connection="s3_default", run=run)


@pytest.mark.server
def test_s3_objects_by_version(s3_server, lake_uri, monkeypatch):
    bucket = Bucket(s3_server, monkeypatch)
    every = source("s3://weather/2013/*.csv", connection="s3_default")
    obstore.put(bucket.store, "2013/01 a.csv", b"n\n1\n")
    obstore.put(bucket.store, "2013/02.csv", b"n\n2\n")
    obstore.put(bucket.store, "2013/deep/03.csv", b"n\n3\n")
    assert bucket.ingest(lake_uri, every, "r1").metrics["rows"] == 2
    assert {row["_source"] for row in rows(lake_uri)} == {"2013/01 a.csv", "2013/02.csv"}
    obstore.put(bucket.store, "2013/02.csv", b"n\n22\n")
    assert bucket.ingest(lake_uri, every, "r2").metrics["rows"] == 1
    assert sorted(row["n"] for row in rows(lake_uri)) == [1, 22]
    conn = Connection.parse("s3_default", bucket.text)
    pinned = end_of(lake_uri, source("s3://weather/2013/**", connection="s3_default"), connection=conn)
    obstore.put(bucket.store, "2013/deep/03.csv", b"n\n33\n")
    with pytest.raises(StepError, match=r"TW526: 2013/deep/03.csv changed"):
        bucket.ingest(lake_uri, every, "r3", pinned)
    obstore.delete(bucket.store, "2013/deep/03.csv")
    with pytest.raises(StepError, match=r"TW526: 2013/deep/03.csv vanished"):
        bucket.ingest(lake_uri, every, "r3", pinned)
    for stranger in (conn, Connection("s3", login="x", password="y", extra=conn.extra)):
        with pytest.raises(StepError, match="TW525"):
            end_of(lake_uri, source("s3://nowhere/*.csv"), connection=stranger)


@pytest.mark.server
def test_an_upload_that_is_not_done_is_not_seen(s3_server, lake_uri, monkeypatch):
    bucket = Bucket(s3_server, monkeypatch)
    conn = Connection.parse("s3_default", bucket.text)
    every = source("s3://weather/uploads/*.csv", connection="s3_default")
    store = pafs.S3FileSystem(
        access_key=s3_server.key, secret_key=s3_server.secret, region="us-east-1", scheme="http",
        endpoint_override=s3_server.address.removeprefix("http://"),
    )  # fmt: skip
    writing = store.open_output_stream("weather/uploads/big.csv")
    writing.write(b"n\n" + b"1\n" * 8_000_000)  # of several parts, some of which have been sent
    assert end_of(lake_uri, every, connection=conn) == {}
    writing.close()
    assert list(end_of(lake_uri, every, connection=conn)) == ["uploads/big.csv"]


@pytest.mark.server
def test_a_lake_on_s3(s3_server, monkeypatch):
    """Tables, staging, replacing and documents in a bucket, as in a folder."""
    bucket = Bucket(s3_server, monkeypatch)
    from tradewind_runtime.history import Advance
    from tradewind_runtime.replacing import Replace

    lake = Lake("s3://weather/a-lake", Connection.parse("s3_default", bucket.text))
    table = lake.table("demo/t")
    schema = pa.schema([("time", pa.timestamp("us", "UTC")), ("n", pa.int64())])

    def batch(*days):
        return pa.table(
            {"time": [datetime(2013, 1, d, tzinfo=UTC) for d in days], "n": list(days)}, schema=schema
        ).to_batches()

    table.commit(table.stage(batch(1, 2, 3), schema), schema=schema, positions={"a": Advance(None, 1)})
    span = Replace("time", datetime(2013, 1, 2, tzinfo=UTC), datetime(2013, 1, 3, tzinfo=UTC))
    table.commit(table.stage(batch(2, 2), schema, cut_by="time"), schema=schema, replace=span)
    assert sorted(table.snapshot().to_arrow()["n"].to_pylist()) == [1, 2, 2, 3]
    assert table.snapshot(1).count() == 3
    assert list(lake.tables()) == ["demo/t"]
    assert lake.documents.create("a/b", b"1")
    assert not lake.documents.create("a/b", b"2")


def test_uris_with_encoded_spaces(folder):
    folder.write("a b/x.csv", "n\n1\n")
    folder.ingest(source("file://" + quote(str(folder.path / "a b")) + "/*.csv"))
    assert folder.column() == [1]


def test_decimals_of_every_format(folder):
    of = of_objects("in/*", columns={"price": "decimal(9, 2)"}, max_bad=10)
    folder.write("in/a.csv", "price\n1.10\n1.115\n")
    folder.write("in/b.jsonl", '{"price": 2.20}\n{"price": "2.30"}\n{"price": 2.225}\n')
    prices = pa.table({"price": pa.array([Decimal("3.300"), Decimal("3.335")], pa.decimal128(20, 3))})
    pq.write_table(prices, folder.path / "in/c.parquet")
    assert folder.ingest(of).metrics["bad"] == 3
    assert folder.column("price") == [Decimal(text) for text in ("1.10", "2.20", "2.30", "3.30")]

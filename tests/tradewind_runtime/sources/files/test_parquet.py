"""Parquet as others write it: categories, row groups, files without rows, few rows that are large."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.steprun import rows

from tradewind_runtime.sources.files import parquet

EVERY = objects("in/*.parquet", columns={"s": "string"}, max_bad=0)


@pytest.fixture
def project(tmp_path: Path, lake_uri: str) -> Project:
    made = Project(tmp_path / "project", lake_uri)
    (made.path / "in").mkdir()
    return made


def categories(letter: str, count: int = 100) -> pa.Table:
    """As pandas has them: with a dictionary, whose indexes are of one byte."""
    return pa.table({"s": pa.array(pd.Categorical([f"{letter}{n:03}" for n in range(count)]))})


def test_categories_of_several_files_are_more_than_one_dictionary_holds(project: Project) -> None:
    for letter in "ab":
        pq.write_table(categories(letter), project.path / f"in/{letter}.parquet")
    project.ingest(EVERY)
    assert project.column("s") == [f"{letter}{n:03}" for letter in "ab" for n in range(100)]


def test_and_so_are_those_of_several_row_groups(project: Project) -> None:
    with pq.ParquetWriter(project.path / "in/a.parquet", categories("a").schema) as writer:
        for letter in "abc":
            writer.write_table(categories(letter))
    project.ingest(EVERY)
    assert len(project.column("s")) == 300


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.binary(), pa.duration("us"), pa.bool_()])
def test_a_file_without_rows_is_of_whatever_types(project: Project, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"n": pa.array([], kind)}), project.path / "in/a.parquet")
    pq.write_table(pa.table({"n": [1]}), project.path / "in/b.parquet")
    project.ingest(objects("in/*.parquet", columns={"n": "long"}, max_bad=0))
    assert project.column() == [1]


DAY = datetime(2013, 1, 1, tzinfo=UTC)
NESTED = pa.table({
    "n": [1, 2, 3],
    "many": pa.array([[1.5, None], [], None], pa.list_(pa.float32())),
    "within": pa.array([{"at": DAY, "raw": b"\xff"}, {"at": None, "raw": None}, None],
                       pa.struct([("at", pa.timestamp("us", "UTC")), ("raw", pa.binary())])),
    "tags": pa.array([[("a", [1])], [], None], pa.map_(pa.string(), pa.list_(pa.int8()))),
})  # fmt: skip
AS_JSON: list[dict[str, Any]] = [
    {"n": 1, "many": "[1.5,null]", "within": '{"at":"2013-01-01T00:00:00Z","raw":"/w=="}', "tags": '{"a":[1]}'},
    {"n": 2, "many": "[]", "within": '{"at":null,"raw":null}', "tags": "{}"},
    {"n": 3, "many": None, "within": None, "tags": None},
]  # fmt: skip


@pytest.mark.parametrize("columns", [None, {"n": "long", "many": "string", "within": "string", "tags": "string"}])
def test_lists_structures_and_maps_are_json(
    project: Project, columns: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(NESTED, project.path / "in/small.parquet")
    project.ingest(objects("in/*.parquet", columns=columns))
    monkeypatch.setattr(parquet, "SMALL", 0)
    pq.write_table(NESTED, project.path / "in/larger.parquet")
    project.ingest(objects("in/*.parquet", columns=columns))
    found = sorted(rows(project.lake), key=lambda row: (row["_source"], row["_position"]))
    assert [{name: row[name] for name in AS_JSON[0]} for row in found] == AS_JSON * 2


def test_times_are_written_alike_however_fine(project: Project) -> None:
    for unit in ("us", "ns"):
        table = pa.table({"at": pa.array([[DAY]], pa.list_(pa.timestamp(unit)))})
        pq.write_table(table, project.path / f"in/{unit}.parquet")
    project.ingest(objects("in/*.parquet"))
    assert project.column("at") == ['["2013-01-01T00:00:00"]'] * 2


@pytest.mark.parametrize("odd", [
    pa.array([[99_999_999]], pa.list_(pa.date32())),
    pa.array([[10**18]], pa.list_(pa.timestamp("us"))),
    pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
    pa.array([[({"a": 1}, 2)]], pa.map_(pa.struct([("a", pa.int64())]), pa.int64())),
], ids=["a day beyond", "a time beyond", "a key twice", "a key that is no text"])  # fmt: skip
def test_what_has_no_json_costs_its_row(project: Project, odd: pa.Array) -> None:
    values = pa.concat_arrays([odd, pa.nulls(1, odd.type)])
    pq.write_table(pa.table({"n": [1, 2], "odd": values}), project.path / "in/a.parquet")
    project.ingest(objects("in/*.parquet", max_bad=1))
    assert [(row["n"], row["odd"]) for row in rows(project.lake)] == [(2, None)]
    (bad,) = rows(project.lake, "flights_quarantine")
    assert bad["reason"].startswith("column odd")


def test_what_is_refused_is_told_of_its_own_file(project: Project) -> None:
    for name, texts in {"a": ["1", "x"], "b": ["y", "2"], "c": ["3", "4", "z"]}.items():
        pq.write_table(pa.table({"n": texts}), project.path / f"in/{name}.parquet")
    project.ingest(objects("in/*.parquet", columns={"n": "long"}, max_bad=3))
    assert sorted((row["_source"], row["_position"], row["n"]) for row in rows(project.lake)) == [
        ("in/a.parquet", 0, 1), ("in/b.parquet", 1, 2), ("in/c.parquet", 0, 3), ("in/c.parquet", 1, 4),
    ]  # fmt: skip
    refused = rows(project.lake, "flights_quarantine")
    assert sorted((row["source"], row["position"], row["content"]) for row in refused) == [
        ("in/a.parquet", 1, b'{"n": "x"}'), ("in/b.parquet", 0, b'{"n": "y"}'), ("in/c.parquet", 2, b'{"n": "z"}'),
    ]  # fmt: skip

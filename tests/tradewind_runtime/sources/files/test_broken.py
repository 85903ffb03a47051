"""Files that are not what their names say, or are so only in part: told at once, and nothing of them is taken in."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.steprun import rows

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.files import json as lines

COLUMNS = {"n": "long", "name": "string"}


@pytest.fixture
def project(tmp_path: Path, lake_uri: str) -> Project:
    return Project(tmp_path / "a project", lake_uri)


def refused(project: Project, name: str, says: str, **more: object) -> None:
    began = time.monotonic()
    with pytest.raises(StepError, match=f"TW527: .*{says}"):
        project.ingest(objects(name, **({"columns": COLUMNS} | more)))
    assert time.monotonic() - began < 20
    assert rows(project.lake) == []


@pytest.mark.parametrize(
    ("count", "says"), [(100_000, "has too many columns"), (1_000_000, "its header is longer than")]
)
def test_a_header_of_very_many_columns(project: Project, count: int, says: str) -> None:
    header = ",".join(f"c{n}" for n in range(count))
    project.write("a.csv", f"{header}\n1,2\n")
    refused(project, "a.csv", says)
    refused(project, "a.csv", says, columns=COLUMNS, new_columns="add")


def test_a_parquet_file_of_very_many_columns(project: Project) -> None:
    pq.write_table(pa.table({f"c{n}": pa.array([], pa.int64()) for n in range(10_001)}), project.path / "a.parquet")
    refused(project, "a.parquet", "has too many columns")


def test_ten_thousand_columns_are_read(project: Project) -> None:
    names = [f"c{n}" for n in range(10_000)]
    project.write("a.csv", ",".join(names) + "\n" + ",".join(["1"] * 10_000) + "\n")
    assert project.ingest(objects("a.csv", columns={"c9999": "long"})).metrics["rows"] == 1


def test_a_column_that_is_there_twice(project: Project) -> None:
    project.write("a.csv", "n,name,n\n1,a,2\n")
    refused(project, "a.csv", "has a column twice")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_header_in_another_encoding(project: Project, encoding: str) -> None:
    project.write("a.csv", "n,näme\n1,a\n".encode(encoding))
    refused(project, "a.csv", "its header is not UTF-8")


def test_values_in_another_encoding_cost_their_rows(project: Project) -> None:
    project.write("a.csv", "n,name\n1,Müller\n2,b\n".encode("latin-1"))
    project.ingest(objects("a.csv", columns=COLUMNS, max_bad=1))
    assert project.column() == [2]
    assert [row["reason"] for row in rows(project.lake, "flights_quarantine")] == ["column name: not UTF-8"]


def test_a_mark_of_utf_8_is_no_part_of_the_first_name(project: Project) -> None:
    project.write("a.csv", "n,name\n1,a\n".encode("utf-8-sig"))
    project.ingest(objects("a.csv", columns=COLUMNS))
    assert project.column() == [1]


def _table() -> bytes:
    made = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": list(range(200_000)), "name": ["x"] * 200_000}), made, row_group_size=10_000)
    return bytes(made.getvalue().to_pybytes())


def _holed(content: bytes) -> bytes:
    """Its end says that all is well."""
    middle = len(content) // 2
    return content[:middle] + bytes(20_000) + content[middle + 20_000 :]


CSV = b"n,name\n" + b"".join(b"%d,%d\n" % (n, n * 7919 % 1_000_003) for n in range(2_000_000))
JSON = b"".join(b'{"n": %d}\n' % n for n in range(200_000))


@pytest.mark.parametrize(
    ("name", "content", "cut"),
    [
        ("a.csv.gz", gzip.compress(CSV, 1), lambda whole: whole[: len(whole) // 2]),
        ("a.csv.gz", gzip.compress(CSV, 1), lambda whole: whole[:-4]),
        ("a.json.gz", gzip.compress(JSON), lambda whole: whole[: len(whole) // 2]),
        ("a.parquet", _table(), lambda whole: whole[: len(whole) // 2]),
        ("a.parquet", _table(), lambda whole: whole[:-1]),
        ("a.parquet", _table(), _holed),
        ("a.parquet", b"", lambda whole: whole),
        ("a.csv", gzip.compress(CSV, 1), lambda whole: whole),
    ],
)
def test_what_was_cut_off(project: Project, name: str, content: bytes, cut: Callable[[bytes], bytes]) -> None:
    project.write(name, cut(content))
    refused(project, name, "cannot be read")


def test_a_line_of_json_without_an_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 20 * 1024 * 1024)
    project.write("a.json", b'{"n": 1}\n{"n": "' + b"x" * 40 * 1024 * 1024)
    refused(project, "a.json", "a line is longer than")


def test_lines_over_the_bounds_of_what_is_read_at_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 7)
    project.write("a.json", "".join(f'{{"n": {n}}}\n\n' for n in range(100)) + '{"n": 100}')
    project.ingest(objects("a.json", columns={"n": "long"}))
    assert sorted((row["n"], row["_position"]) for row in rows(project.lake)) == [(n, n) for n in range(101)]

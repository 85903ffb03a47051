"""Avro's container files: typed by their own schema, some blocks at a time, and a broken one as a whole."""

from __future__ import annotations

import io
import logging
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.steprun import rows

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Lake
from tradewind_runtime.sources.files import avro

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
FIELDS: list[dict[str, Any]] = [
    {"name": "n", "type": "long"},
    {"name": "small", "type": ["null", "int"]},
    {"name": "share", "type": "float"},
    {"name": "name", "type": ["null", "string"]},
    {"name": "raw", "type": "bytes"},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "many", "type": {"type": "array", "items": "long"}},
    {"name": "either", "type": ["null", "long", "string"]},
]
ROW = {
    "n": 1, "small": 2, "share": 0.5, "name": "café", "raw": b"\xff", "kind": "b", "day": date(2013, 1, 1), "at": NOON,
    "price": Decimal("12.50"), "many": [1, 2], "either": "x",
}  # fmt: skip


def container(rows: list[dict[str, Any]], fields: Any = None, **more: Any) -> bytes:
    schema = {"type": "record", "name": "Flight", "fields": fields or [{"name": "n", "type": "long"}]}
    made = io.BytesIO()
    fastavro.writer(made, schema, rows, **more)
    return made.getvalue()


def numbers(count: int, **more: Any) -> bytes:
    return container([{"n": n} for n in range(count)], **({"sync_interval": 500} | more))


@pytest.fixture
def project(tmp_path: Path, lake_uri: str) -> Project:
    return Project(tmp_path / "a project", lake_uri)


def test_rows_are_of_the_files_own_types(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    nothing = ROW | {"n": 2, "small": None, "name": None, "many": [], "either": None}
    project.write("a.avro", container([ROW, nothing], FIELDS))
    with caplog.at_level(logging.INFO):
        project.ingest(objects("*.avro"))
    assert "a.avro: left out, since no table can hold them: either\n" in caplog.text
    found = sorted(rows(project.lake), key=lambda row: row["n"])
    told = {key: value for key, value in found[0].items() if key not in ("_ingested", "_source")}
    assert told == {key: value for key, value in ROW.items() if key != "either"} | {"_position": 0, "many": "[1,2]"}
    assert (found[1]["small"], found[1]["name"], found[1]["_position"]) == (None, None, 1)
    kinds = {one.name: str(one.type) for one in Lake(project.lake).table("demo/flights_raw").snapshot().schema}
    assert (kinds["small"], kinds["share"], kinds["price"]) == ("int32", "float", "decimal128(9, 2)")


def test_a_time_is_a_text_down_to_its_own_unit(project: Project) -> None:
    fields = [
        {"name": "micros", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "millis", "type": {"type": "int", "logicalType": "time-millis"}},
    ]
    project.write("a.avro", container([{"micros": time(1, 2, 3, 4), "millis": time(1, 2, 3)}], fields))
    project.ingest(objects("a.avro"))
    (row,) = rows(project.lake)
    assert (row["micros"], row["millis"]) == ("01:02:03.000004", "01:02:03.000")


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_blocks_come_a_few_at_a_time(project: Project, monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    monkeypatch.setattr(avro, "ROWS", 1_000)
    path = project.write("a.avro", numbers(10_000, codec=codec))
    with path.open("rb") as file:
        assert len(list(fastavro.block_reader(file))) > 10
    assert max(map(len, avro._some(path))) < 2_000
    project.ingest(objects("a.avro", columns={"n": "long"}))
    assert sorted((row["n"], row["_position"]) for row in rows(project.lake)) == [(n, n) for n in range(10_000)]


def test_a_value_that_is_not_of_its_column_goes_to_quarantine(project: Project) -> None:
    fields = [{"name": "n", "type": "string"}]
    project.write("a.avro", container([{"n": "1"}, {"n": "one"}], fields))
    assert project.ingest(objects("a.avro", columns={"n": "long"}, max_bad=1)).metrics["bad"] == 1
    (refused,) = rows(project.lake, "flights_quarantine")
    assert (refused["position"], refused["content"]) == (1, b'{"n": "one"}')


def _flipped(content: bytes) -> bytes:
    """A sync marker in the midst is not what it was."""
    mark = content[-16:]
    at = content.index(mark, len(content) // 2)
    return content[:at] + bytes(16) + content[at + 16 :]


@pytest.mark.parametrize(
    "broken",
    [
        b"", b"Obj\x01", b"nonsense", numbers(10_000)[:-40], _flipped(numbers(10_000)),
        numbers(10_000, codec="deflate")[:-40], numbers(2)[:-20] + b"\xff" * 20,
    ],
)  # fmt: skip
def test_a_broken_file_is_told_and_nothing_of_it_is_taken_in(project: Project, broken: bytes) -> None:
    project.write("a.avro", broken)
    with pytest.raises(StepError, match=r"TW527: a\.avro cannot be read"):
        project.ingest(objects("a.avro", columns={"n": "long"}))
    assert rows(project.lake) == []


def test_a_schema_whose_records_have_no_end_is_refused(project: Project) -> None:
    itself = [{"name": "n", "type": "long"}, {"name": "next", "type": ["null", "Flight"]}]
    project.write("a.avro", container([{"n": 1, "next": None}], itself))
    project.write("b.avro", container([{"n": None}], [{"name": "n", "type": "null"}]))
    for name, why in (("a.avro", "another of its kind"), ("b.avro", "takes no byte")):
        with pytest.raises(StepError, match=f"TW527: .*{why}"):
            project.ingest(objects(name, columns={"n": "long"}))


def test_new_columns_of_later_files_are_added(project: Project) -> None:
    project.write("a.avro", numbers(1))
    project.ingest(objects("*.avro"))
    project.write("b.avro", container([{"n": 1, "gate": "B2"}], [*FIELDS[:1], {"name": "gate", "type": "string"}]))
    project.ingest(objects("*.avro"))
    assert sorted((row["n"], row["gate"]) for row in rows(project.lake)) == [(0, None), (1, "B2")]

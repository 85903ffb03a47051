"""The benchmarks of the data layer, by a few rows: every peer sees all of them, and what is kept can be drawn."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bench import bare, charts, checks, measuring, results, rows
from bench.ingest import stages

from tradewind_runtime import staging
from tradewind_runtime.sources.columns import TYPES


def run(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, *words: str, kept: str | None = None
) -> dict[str, Any]:
    """What a benchmark keeps, in a folder of the test's own."""
    monkeypatch.setattr(results, "__file__", str(place / "__init__.py"))
    monkeypatch.setattr(charts, "IMAGES", place / "images")
    monkeypatch.setattr(sys, "argv", [f"bench.{name}", *words])
    code = import_module(f"bench.{name}").main()
    kept = kept or (f"{name}_growth" if "--growth" in words else name)
    found: dict[str, Any] = json.loads((place / f"{kept}.json").read_text())
    assert found["ok"] == (code == 0)
    return found


def test_a_row_is_the_same_wherever_one_begins() -> None:
    whole = pa.Table.from_batches(rows.batches(250_000))
    part = pa.Table.from_batches(rows.batches(150_000, first=90_000))
    assert whole.schema == rows.SCHEMA
    assert whole.slice(90_000, 150_000).combine_chunks() == part.combine_chunks()
    assert {name: TYPES[kind] for name, kind in rows.COLUMNS.items()} == {one.name: one.type for one in rows.SCHEMA}


def test_the_bare_writer_writes_as_ours(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    few = [batch.slice(0, 100) for batch in rows.batches(5_000)] * 2
    assert bare.written(few, rows.SCHEMA, str(tmp_path / "bare.parquet")) == 200
    (ours,) = staging.write_files(pa.fs.LocalFileSystem(), str(tmp_path / "ours"), few, rows.SCHEMA)
    mine, theirs = pq.read_metadata(ours), pq.read_metadata(tmp_path / "bare.parquet")
    assert bare.ROW_GROUP == staging.ROW_GROUP
    assert mine.row_group(0).column(0).compression == theirs.row_group(0).column(0).compression == "ZSTD"
    assert pq.read_table(ours) == pq.read_table(tmp_path / "bare.parquet")


def test_what_is_told_is_the_quickest_and_the_most_memory() -> None:
    raw = {"ours": [{"wall": 2.0, "imports": 0.5, "cpu": 1.0, "peak_mib": 90},
                    {"wall": 1.0, "imports": 0.4, "cpu": 3.0, "peak_mib": 80}]}  # fmt: skip
    body = measuring.told(raw, 1_000)
    assert (body["wall"], body["imports"], body["peak_mib"]) == ({"ours": 1.0}, {"ours": 0.4}, {"ours": 90})
    assert (body["rows_a_second"], body["cpu_us_a_row"]) == ({"ours": 1_000}, {"ours": 1_000.0})


def test_who_would_not_fit_into_memory_is_left_out_of_the_larger_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(module: str, who: str, task: measuring.Task) -> measuring.Taken:
        peak = task["rows"] if who == "alone" else 100
        return {"rows": task["rows"], "wall": 1.0, "imports": 0.1, "cpu": 1.0, "peak_mib": peak}

    monkeypatch.setattr(measuring, "alone", alone)
    monkeypatch.setattr(measuring, "_memory", lambda: 1_000)
    found = measuring.grown("checks", ("ours", "alone"), [{"rows": count} for count in (100, 500, 2_000)], 2)
    assert [body["left_out"] for body in found.values()] == [[], [], ["alone"]]
    assert [len(body["raw"]["ours"]) for body in found.values()] == [2, 2, 1]


@pytest.mark.server
def test_objects_of_each_kind_come_from_each_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = ("parquet-small-s3", "csv-large-s3", "json-small-folder")  # of parquet-large-folder is the next test
    words = ("--rows", "600", "--repeat", "1", "--large", "2", "--small", "20", "--only", ",".join(cases))
    found = run("objects", tmp_path, monkeypatch, *words)
    assert tuple(found["cases"]) == cases
    assert set(cases) < set(import_module("bench.objects").CASES)
    assert [body["rows"] for body in found["cases"].values()] == [600, 3_000, 600]
    assert found["cases"]["parquet-small-s3"]["files"] == 20


def test_a_case_that_is_measured_again_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--rows", "200", "--repeat", "1", "--small", "2", "--only")
    before = run("objects", tmp_path, monkeypatch, *words, "parquet-small-folder,csv-small-folder")
    now = run("objects", tmp_path, monkeypatch, *words, "csv-small-folder")
    assert list(now["cases"]) == list(now["taken"]) == ["parquet-small-folder", "csv-small-folder"]
    for part in ("cases", "taken"):
        assert now[part]["parquet-small-folder"] == before[part]["parquet-small-folder"]
    assert now["cases"]["csv-small-folder"] != before["cases"]["csv-small-folder"]


def test_objects_grow_and_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--rows", "100", "--repeat", "1", "--large", "2", "--growth", "--only", "parquet-large-folder")
    found = run("objects", tmp_path, monkeypatch, *words)
    assert list(found["cases"]["parquet-large-folder"]) == ["100", "500", "2000"]
    (picture,) = (tmp_path / "images").iterdir()
    assert picture.name == "growth-objects-parquet-large-folder.svg"
    assert picture.read_bytes() == charts.draw()[0].read_bytes(), "the same figures give the same picture"


@pytest.mark.server
def test_postgresql_comes_whole_by_a_cursor_and_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("postgresql", tmp_path, monkeypatch, "--rows", "1000", "--repeat", "1")
    assert {name: body["rows"] for name, body in found["cases"].items()} == {"whole": 1_000, "cursor": 500}
    grown = run("postgresql", tmp_path, monkeypatch, "--rows", "100", "--repeat", "1", "--growth")
    assert {name: list(body) for name, body in grown["cases"].items()} == {
        name: ["100", "500", "2000"] for name in ("whole", "cursor")
    }


def test_checks_find_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("checks", tmp_path, monkeypatch, "--rows", "5000", "--repeat", "1")
    assert set(found["cases"]["suite"]["raw"]) == {"ours", "alone", "by_hand"}
    assert found["failing"] > 0, "else nothing is said of what fails"


def test_checks_grow_by_versions_of_one_table(tmp_path: Path) -> None:
    few, more = (checks.fill(tmp_path.as_uri(), count, first) for count, first in ((500, 0), (2_000, 500)))
    assert (few["rows"], len(few["files"]), more["rows"], len(more["files"])) == (500, 1, 2_000, 2)
    assert few["version"] < more["version"]
    assert set(few["files"]) < set(more["files"])


def test_a_chart_leaves_out_what_was_not_measured() -> None:
    run_ = {"wall": 2.0, "peak_mib": 100}
    grown = {1_000_000: {"ours": [run_, run_ | {"wall": 1.0}], "alone": [run_]}, 5_000_000: {"ours": [run_]}}
    assert charts.series(grown, "ours") == ([1.0, 5.0], [1.0, 2.0], [100, 100])
    assert charts.series(grown, "alone") == ([1.0], [2.0], [100])
    java = {1_000_000: {"spark": [{"wall": 3.0}]}}
    assert charts.series(java, "spark") == ([1.0], [3.0], []), "nothing is known of its memory"


def test_the_growth_of_ingestion_from_kafka_is_drawn_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(charts, "IMAGES", tmp_path)
    raw = {who: [{"wall": 1.0, "peak_mib": 100}] for who in ("bare", "ours")} | {"spark": [{"wall": 3.0}]}
    kept = {"cases": {"growing": {"1000000": {"raw": raw}, "5000000": {"raw": raw}}, "json200": {}}}
    (tmp_path / "ingest.json").write_text(json.dumps(kept))
    (tmp_path / "drift.json").write_text(json.dumps({"ok": True}))
    assert charts.draw() == [tmp_path / "growth-ingest-json.svg"]


def test_time_is_of_the_stage_that_is_at_work() -> None:
    clock = stages.Clock()
    inner = clock.timed("inner", lambda: time.sleep(0.05))
    clock.timed("outer", lambda: (time.sleep(0.02), inner(), inner()))()
    assert clock.spent["inner"] >= 0.1
    assert 0.02 <= clock.spent["outer"] < clock.spent["inner"]


@pytest.mark.server
def test_messages_are_read_by_each_and_stage_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--messages", "3000", "--repeat", "1", "--only", "avro200")
    found = run("ingest.__main__", tmp_path, monkeypatch, *words, kept="ingest")
    case = found["cases"]["avro200"]
    assert {who: [one["rows"] for one in runs] for who, runs in case["raw"].items()} == {
        who: [3_000] * 3 for who in ("bare", "ours")
    }
    spent = case["stages_us_a_message"]
    assert {"consume", "decode", "write", "commit", "start and the rest"} <= spent.keys()
    assert min(spent.values()) > 0
    assert found["taken"]["avro200"].keys() == found["machine"].keys()

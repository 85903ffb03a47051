"""Columns are held against those that are declared, and only where it is certain that these are all."""

from pathlib import Path

import pytest

from tradewind.spec import load_all

TEXT = """\
version: 1
pipeline: a
params: {key: {type: string, default: id}}
sources:
  rows:
    objects: {uri: "landing/*.csv"}
    columns: {day: timestamp, late: boolean, id: string}
    time: day
"""
MODEL = "train: {estimator: sklearn.LogisticRegression, label: late}\npromote: {model: a}\n"


def problems(folder: Path, text: str) -> list[tuple[str, str, str | None]]:
    (folder / "a.yaml").write_text(TEXT + text)
    [loaded] = load_all([folder / "a.yaml"])
    return [(one.code, one.severity, one.path) for one in loaded.problems]


@pytest.mark.parametrize(
    "text",
    [
        "checks: {rows: [expect_column_values_to_be_unique: {column: '{params.key}'}]}\n",
        "checks: {rows: [expect_column_values_to_be_unique: {column: _position}]}\n",
        MODEL + "evaluate: {by: [late, id]}\nscore: {table: rows, keep: [_ingested, id]}\n",
        MODEL
        + "transform: {sql: {query: select 1}}\nsplit: {time: new, train: 9d, valid: 1d, test: 1d}\n"
        + "evaluate: {by: [new]}\nscore: {keep: [new]}\ndeploy: {}\nmonitor: {time: new, entity_key: new}\n",
    ],
)
def test_no_false_alarm(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == []


def test_a_transform_does_not_change_the_sources(tmp_path: Path) -> None:
    text = "transform: {sql: {query: select 1}}\n" + MODEL + "score: {table: rows, keep: [new]}\n"
    assert problems(tmp_path, text) == [("TW128", "error", "score.keep[0]")]


def test_clients_may_send_a_time_that_the_table_does_not_have(tmp_path: Path) -> None:
    assert problems(tmp_path, MODEL + "deploy: {}\nmonitor: {time: dya}\n") == [("TW128", "warning", "monitor.time")]


KEPT = """\
version: 1
pipeline: a
sources:
  rows:
    kafka: {topic: rows, keep: {timestamp: sent, offset: at, key: id}}
    columns: {late: boolean, id: string}
    new_columns: NEW
    time: TIME
checks: {rows: [expect_column_values_to_not_be_null: {column: COLUMN}]}
"""


@pytest.mark.parametrize(
    ("time", "column", "new", "found"),
    [
        ("sent", "at", "ignore", []),
        ("sent", "gate", "add", []),
        ("sent", "gate", "ignore", [("TW128", "error", "checks.rows[0].expect_column_values_to_not_be_null.column")]),
        ("at", "id", "ignore", [("TW128", "error", "sources.rows.time")]),
        ("gate", "id", "add", [("TW128", "error", "sources.rows.time")]),
    ],
)
def test_what_is_kept_of_a_message_and_what_may_be_added_are_columns(
    tmp_path: Path, time: str, column: str, new: str, found: list[tuple[str, str, str]]
) -> None:
    text = KEPT.replace("TIME", time).replace("COLUMN", column).replace("NEW", new)
    (tmp_path / "a.yaml").write_text(text)
    [loaded] = load_all([tmp_path / "a.yaml"])
    assert [(one.code, one.severity, one.path) for one in loaded.problems] == found

"""`tradewind lake` on the lake that a run of the example left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from tests.tradewind.cli.conftest import EXAMPLE, Typed, lay_out

from tradewind.errors import TradewindError
from tradewind_runtime import quarantine
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake
from tradewind_runtime.quarantine import Bad

RAW = "breast-cancer/patients_raw"
ROWS = 569  # of the sample
INGESTED = pa.schema([("word", pa.string()), ("_source", pa.string()), ("_position", pa.int64())])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the example has been run once, by the command."""
    root = lay_out(tmp_path_factory.mktemp("a project"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND")}
    command = [sys.executable, "-m", "tradewind.cli", "run", EXAMPLE, "--run-id", "first", "--format", "json"]
    done = subprocess.run(command, cwd=root, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    return root


@pytest.fixture
def project(ran: Path, tmp_path: Path) -> Path:
    """The same, for a test that changes its lake."""
    return Path(shutil.copytree(ran, tmp_path / "a copy"))


def lake(project: Path) -> Lake:
    return Lake((project / ".tradewind/lake").as_uri())


def ingest(project: Path, positions: range, committed: int) -> None:
    """Rows of a Kafka partition, as ingestion writes them; what is committed may say otherwise."""
    rows = pa.table([["[/a]"] * len(positions), ["words-0"] * len(positions), list(positions)], schema=INGESTED)
    table = lake(project).table("letters/words_raw")
    before = table.position("kafka:words:0")
    table.commit(
        table.stage(rows.to_batches(), INGESTED), schema=INGESTED,
        positions={"kafka:words:0": Advance(before, committed)}, metadata={"run": "hand", "rows": len(positions)},
    )  # fmt: skip


def test_tables_are_listed_with_their_rows(ran: Path, typed: Typed) -> None:
    done = typed(ran, "lake", "ls", "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (0, True)
    found = {table["table"]: (table["version"], table["rows"], table["files"]) for table in body["tables"]}
    assert found == {
        "breast-cancer/checks": (1, 1, 1),
        "breast-cancer/features": (1, ROWS, 1),
        "breast-cancer/patients": (1, ROWS, 1),
        "breast-cancer/patients_quarantine": (1, 0, 0),
        RAW: (1, ROWS, 1),
    }
    text = typed(ran, "lake", "ls").stdout
    assert RAW in text
    assert str(ROWS) in text


def test_a_lake_without_tables_says_what_to_do(tmp_path: Path, typed: Typed) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/local.yaml").write_text("profile: local\n")
    assert typed(tmp_path, "lake", "ls").stdout == "There is no table yet: run a pipeline.\n"
    assert json.loads(typed(tmp_path, "lake", "ls", "--format", "json").stdout) == {"ok": True, "tables": []}
    done = typed(tmp_path, "lake", "verify")
    assert (done.exit_code, done.stdout) == (0, "Nothing has been ingested yet.\n")


def test_columns_and_first_rows_are_shown(ran: Path, typed: Typed) -> None:
    body = json.loads(typed(ran, "lake", "show", RAW, "--limit", "2", "--format", "json").stdout)
    assert (body["ok"], body["table"], body["version"], body["rows"]) == (True, RAW, 1, ROWS)
    assert {"column": "target", "type": "int64"} in body["columns"]
    assert [(row["_source"], row["_position"]) for row in body["head"]] == [("breast_cancer", 0), ("breast_cancer", 1)]
    text = typed(ran, "lake", "show", RAW, "--limit", "2").stdout
    assert f"{RAW} version 1: {ROWS} rows" in text
    assert "timestamp[us, tz=UTC]" in text
    assert f"{body['head'][0]['mean_radius']}" in text, "a pipe gets whole values, however many columns there are"


def test_an_older_version_is_shown(ran: Path, typed: Typed) -> None:
    text = typed(ran, "lake", "show", RAW, "--version", "0").stdout
    assert f"{RAW} version 0: 0 rows" in text
    assert "It has no rows." in text


def test_a_table_that_is_not_there_is_refused_with_the_nearest(ran: Path, typed: Typed) -> None:
    for command in ("show", "history"):
        error = typed(ran, "lake", command, "breast-cancer/patient").exception
        assert isinstance(error, TradewindError)
        [problem] = error.problems
        assert (problem.code, problem.suggestion) == ("TW341", "breast-cancer/patients")


def test_commits_are_listed_newest_first_with_their_run(ran: Path, typed: Typed) -> None:
    body = json.loads(typed(ran, "lake", "history", RAW, "--format", "json").stdout)
    assert body["ok"]
    assert [(commit["version"], commit["run"], commit["rows"]) for commit in body["commits"]] == [
        (1, "first", ROWS),
        (0, "", ""),
    ]
    assert all(datetime.fromisoformat(commit["time"]).tzinfo for commit in body["commits"])
    assert [commit["positions"] for commit in body["commits"]] == [
        {"sample:breast_cancer": {"from": None, "to": 1}},
        {},
    ]
    text = typed(ran, "lake", "history", RAW).stdout
    assert "first" in text
    assert "sample:breast_cancer new→1" in text


def test_commits_say_how_far_they_moved_their_sources(project: Path, typed: Typed) -> None:
    ingest(project, range(3), 3)
    ingest(project, range(3, 5), 7)
    body = json.loads(typed(project, "lake", "history", "letters/words_raw", "--format", "json").stdout)
    moved = [commit["positions"].get("kafka:words:0") for commit in body["commits"]]
    assert moved == [{"from": 3, "to": 7}, {"from": None, "to": 3}, None]
    text = typed(project, "lake", "history", "letters/words_raw").stdout
    assert "kafka:words:0 3→7" in text
    assert "kafka:words:0 new→3" in text


def test_what_adds_up_is_verified(ran: Path, typed: Typed) -> None:
    done = typed(ran, "lake", "verify", "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (0, True)
    [line] = body["sources"]
    assert (line["table"], line["rows"], line["doubles"], line["ok"]) == (RAW, ROWS, 0, True)
    text = typed(ran, "lake", "verify", RAW)
    assert text.exit_code == 0
    assert "breast_cancer" in text.stdout


@pytest.mark.parametrize(
    ("second", "committed", "doubles"),
    [(range(2, 5), 5, 1), (range(3, 9), 6, 0)],
    ids=["a row is there twice", "rows are beyond what is committed"],
)
def test_what_does_not_add_up_is_exit_code_1(
    project: Path, typed: Typed, second: range, committed: int, doubles: int
) -> None:
    ingest(project, range(3), 3)
    assert typed(project, "lake", "verify").exit_code == 0
    ingest(project, second, committed)
    done = typed(project, "lake", "verify", "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (1, False)
    lines = {line["table"]: line for line in body["sources"]}
    assert {name: line["ok"] for name, line in lines.items()} == {RAW: True, "letters/words_raw": False}
    assert lines["letters/words_raw"]["doubles"] == doubles
    text = typed(project, "lake", "verify", "letters/words_raw")
    assert (text.exit_code, "False" in text.stdout) == (1, True)
    assert typed(project, "lake", "verify", RAW).exit_code == 0, "the other table is none the worse"


def test_rows_with_brackets_are_shown_as_they_are(project: Path, typed: Typed) -> None:
    ingest(project, range(1), 1)
    assert "[/a]" in typed(project, "lake", "show", "letters/words_raw").stdout


LETTERS = """\
version: 1
pipeline: letters
sources:
  words: {kafka: {topic: words}, columns: {word: string}}
train: {estimator: sklearn.LogisticRegression, label: word}
"""


@pytest.fixture
def letters(project: Path) -> Path:
    """Three rows of a topic, of which two more messages were refused."""
    (project / "dags/pipelines/letters.yaml").write_text(LETTERS)
    ingest(project, range(3), 5)
    bad = [Bad("words-0", 3, "column word", b'{"word": "d"}'), Bad("words-0", 4, "not JSON", b"broken")]
    table, rows = lake(project).table("letters/words_quarantine"), quarantine.to_arrow(bad, "ingest")
    table.commit(table.stage(rows.to_batches(), quarantine.SCHEMA), schema=quarantine.SCHEMA)
    return project


def test_refused_messages_are_read_again(letters: Path, typed: Typed) -> None:
    asked = ("lake", "replay", str(letters / "dags/pipelines/letters.yaml"), "words")
    done = typed(letters, *asked)
    assert done.exception is None, done.exception
    text = done.stdout
    assert "1 rows are in the table now, 1 messages are still refused" in text
    assert "not JSON: " in text
    (letters / "mended.jsonl").write_text('{"source": "words-0", "position": 4, "content": "{\\"word\\": \\"e\\"}"}\n')
    body = json.loads(typed(letters, *asked, "--mended", str(letters / "mended.jsonl"), "--format", "json").stdout)
    assert body == {"ok": True, "rows": 1, "left": 0, "reasons": {}}
    found = lake(letters).table("letters/words_raw").snapshot().to_arrow().to_pylist()
    assert sorted((row["_position"], row["word"]) for row in found)[3:] == [(3, "d"), (4, "e")]
    assert typed(letters, "lake", "verify", "letters/words_raw").exit_code == 0


def test_all_that_is_wrong_with_a_file_of_mended_messages_is_told(letters: Path, typed: Typed) -> None:
    lines = ['{"source": "words-0"}', "[", '{"source": "words-0", "position": 4, "content": {"base64": "?"}}', "7"]
    (letters / "mended.jsonl").write_text("\n".join(lines))
    asked = ("lake", "replay", str(letters / "dags/pipelines/letters.yaml"))
    error = typed(letters, *asked, "words", "--mended", str(letters / "mended.jsonl")).exception
    assert isinstance(error, TradewindError)
    assert [(problem.code, problem.line) for problem in error.problems] == [("TW343", n) for n in (1, 2, 3, 4)]
    error = typed(letters, *asked, "word").exception
    assert isinstance(error, TradewindError)
    assert (error.problems[0].code, error.problems[0].suggestion) == ("TW341", "words")


def test_tables_are_kept_in_order(project: Path, typed: Typed) -> None:
    for n in range(3):
        ingest(project, range(n, n + 1), n + 1)
    done = json.loads(typed(project, "lake", "compact", "--format", "json").stdout)
    assert {one["table"]: (one["files"], one["left"]) for one in done["tables"]}["letters/words_raw"] == (0, 3)
    checked = lake(project).table("letters/words")
    checked.commit([], schema=INGESTED, positions={"check": Advance(None, 3)})
    text = typed(project, "lake", "compact", "letters/words_raw").stdout
    assert text.split("letters/words_raw")[1].split()[1:4:2] == ["3", "1"]
    body = json.loads(typed(project, "lake", "vacuum", "--dry-run", "--format", "json").stdout)
    assert {one["table"]: one["files"] for one in body["tables"]}["letters/words_raw"] == 0, "a week is kept"
    body = json.loads(typed(project, "lake", "vacuum", RAW, "--days", "2", "--format", "json").stdout)
    assert [one["table"] for one in body["tables"]] == [RAW]
    assert typed(project, "lake", "vacuum", "--days", "0").exit_code == 2
    error = typed(project, "lake", "vacuum", "letters/word_raw").exception
    assert isinstance(error, TradewindError)
    assert error.problems[0].suggestion == "letters/words_raw"

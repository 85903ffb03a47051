"""`tradewind lake verify --against`: what a broker and a store still hold, asked of the real ones."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from obstore.store import S3Store
from tests.servers import buckets
from tests.tradewind.cli.conftest import Typed, lay_out
from tests.tradewind_runtime.steprun import end_of, ingest_request

from tradewind.cli.plan import planned
from tradewind.dev.servers.s3 import REGION, S3
from tradewind.errors import TradewindError
from tradewind_runtime.connections import Connection, variable
from tradewind_runtime.contract.pins import IngestConfig
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.replacing import Replace

pytestmark = pytest.mark.server
YAML = "dags/pipelines/letters.yaml"
WORDS, PAGES = "letters/words_raw", "letters/pages_raw"
LAKE = "file://{}/.tradewind/lake"
SENT = 20  # messages, of which the last is none
PIPELINE = """\
version: 1
pipeline: letters
sources:
  words: {kafka: {connection: kafka_letters, topic: TOPIC}, columns: {n: long, size: double}}
  pages:
    objects: {uri: "s3://BUCKET/pages/*.csv", connection: s3_letters}
    columns: {n: long, label: long}
transform:
  sql: {query: "SELECT w.n, w.size, p.label FROM words w JOIN pages p USING (n)"}
train: {estimator: sklearn.LogisticRegression, label: label}
"""


class Letters:
    """A project whose sources have been ingested once."""

    def __init__(self, root: Path, topic: str, connections: dict[str, str]) -> None:
        self.root, self.topic, self.connections = root, topic, connections

    def table(self, name: str) -> Table:
        return Lake(LAKE.format(self.root)).table(name)

    def row(self, name: str, n: int) -> pa.Table:
        return self.table(name).snapshot().to_arrow(where=pc.field("n") == n)


def prepared(root: Path, topic: str, broker: str, store: S3Store) -> None:
    """Messages on two partitions, three objects, and the pipeline of both."""
    admin = AdminClient({"bootstrap.servers": broker})  # by a name, for what it has begun ends with it
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": broker})
    for n in range(SENT):
        content = json.dumps({"n": n, "size": n / 2}) if n < SENT - 1 else "broken"
        producer.produce(topic, content.encode(), partition=n % 2)
    assert producer.flush(30) == 0
    for page in range(3):
        lines = [f"{n},{n % 2}" for n in range(page * 10, page * 10 + 10)]
        obstore.put(store, f"pages/{page}.csv", "\n".join(["n,label", *lines, ""]).encode())
    (root / YAML).write_text(PIPELINE.replace("TOPIC", topic).replace("BUCKET", topic))


def ingested(lake: str, name: str, source: Source, connections: dict[str, str]) -> None:
    """As the pipeline's first run does it."""
    id = source.connection or ""
    end = end_of(lake, source, connection=Connection.parse(id, connections[variable(id)]))
    config = IngestConfig(name=name, source=source).model_dump(mode="json")
    request = ingest_request(lake, source, end, run="first", connection=id)
    execute(request.model_copy(update={"id": f"ingest_{name}", "pipeline": "letters", "config": config}))


@pytest.fixture(scope="module")
def ran(kafka_broker: str, s3_server: S3, tmp_path_factory: pytest.TempPathFactory) -> Letters:
    """Both sources ingested."""
    root, topic = lay_out(tmp_path_factory.mktemp("a project")), f"letters-{time.time_ns()}"
    buckets.make(s3_server, topic)
    store = S3Store(
        topic, endpoint=s3_server.address, region=REGION, access_key_id=s3_server.key,
        secret_access_key=s3_server.secret, virtual_hosted_style_request=False, client_options={"allow_http": True},
    )  # fmt: skip
    prepared(root, topic, kafka_broker, store)
    connections = {
        "AIRFLOW_CONN_KAFKA_LETTERS": f"kafka://{kafka_broker}",
        "AIRFLOW_CONN_S3_LETTERS": s3_server.connections()["s3_default"],
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, text in connections.items():
            patch.setenv(name, text)
        for name, source in planned(root / YAML, "local")[0].sources.items():
            ingested(LAKE.format(root), name, source, connections)
    return Letters(root, topic, connections)


@pytest.fixture
def letters(ran: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Letters:
    """The same, for a test that changes its lake."""
    for name, text in ran.connections.items():
        monkeypatch.setenv(name, text)
    return Letters(Path(shutil.copytree(ran.root, tmp_path / "a copy")), ran.topic, ran.connections)


def verified(letters: Letters, typed: Typed, *words: str) -> tuple[int, bool, dict[str, dict[str, Any]]]:
    """The exit code, `ok`, and the lines by partition or object."""
    asked = ("lake", "verify", *words, "--against", str(letters.root / YAML), "--format", "json")
    done = typed(letters.root, *asked)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    body = json.loads(done.stdout)
    return done.exit_code, body["ok"], {line["source"]: line for line in body["sources"]}


def test_all_is_there(letters: Letters, typed: Typed) -> None:
    code, ok, lines = verified(letters, typed)
    assert (code, ok) == (0, True)
    told = ("table", "rows", "quarantined", "committed", "lost", "unknown", "unread", "doubles", "ok")
    assert {source: tuple(line[name] for name in told) for source, line in lines.items()} == {
        f"{letters.topic}-0": (WORDS, 10, 0, 10, 0, 0, 0, 0, True),
        f"{letters.topic}-1": (WORDS, 9, 1, 10, 0, 0, 0, 0, True),
        **{f"pages/{page}.csv": (PAGES, 10, 0, None, 0, 0, 0, 0, True) for page in range(3)},
    }
    text = typed(letters.root, "lake", "verify", "--against", str(letters.root / YAML))
    assert text.exit_code == 0
    assert all(source in text.stdout for source in lines)
    assert [word in text.stdout for word in ("lost", "unread", "True", "False")] == [True, True, True, False]


def test_one_table_is_asked_alone(letters: Letters, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_LETTERS")
    code, _, lines = verified(letters, typed, PAGES)
    assert (code, sorted(lines)) == (0, ["pages/0.csv", "pages/1.csv", "pages/2.csv"])


@pytest.mark.parametrize(
    ("table", "n", "place"),
    [(WORDS, 7, ("TOPIC-1", 3)), (PAGES, 14, ("pages/1.csv", 4))],
    ids=["of a partition", "of an object"],
)
def test_a_row_that_is_lost_is_told_with_its_place(
    letters: Letters, typed: Typed, table: str, n: int, place: tuple[str, int]
) -> None:
    source, position = place[0].replace("TOPIC", letters.topic), place[1]
    found = letters.table(table)
    found.commit([], schema=found.snapshot().schema, replace=Replace("n", n, n + 1))
    assert typed(letters.root, "lake", "verify").exit_code == 0, "unasked, nobody knows of it"
    code, ok, lines = verified(letters, typed)
    assert (code, ok) == (1, False)
    assert {one: (line["lost"], line["examples"]) for one, line in lines.items() if not line["ok"]} == {
        source: (1, [position])
    }
    text = typed(letters.root, "lake", "verify", "--against", str(letters.root / YAML))
    assert text.exit_code == 1
    [line] = [line for line in text.stdout.splitlines() if "False" in line]
    assert source in line
    assert f"({position},)" in line


@pytest.mark.parametrize(("table", "n", "source"), [(WORDS, 7, "TOPIC-1"), (PAGES, 14, "pages/1.csv")])
def test_a_row_that_is_there_twice(letters: Letters, typed: Typed, table: str, n: int, source: str) -> None:
    found, again = letters.table(table), letters.row(table, n)
    assert again.num_rows == 1
    found.commit(found.stage(again.to_batches(), again.schema), schema=again.schema)
    code, ok, lines = verified(letters, typed)
    assert (code, ok) == (1, False)
    assert {one: (line["doubles"], line["lost"]) for one, line in lines.items() if not line["ok"]} == {
        source.replace("TOPIC", letters.topic): (1, 0)
    }


def test_what_cannot_be_asked_is_told(letters: Letters, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("lake", "verify", "--against", str(letters.root / YAML))
    error = typed(letters.root, *asked, "letters/word_raw").exception
    assert isinstance(error, TradewindError)
    assert [(one.code, one.suggestion) for one in error.problems] == [("TW341", WORDS)]
    monkeypatch.delenv("AIRFLOW_CONN_S3_LETTERS")
    error = typed(letters.root, *asked).exception
    assert isinstance(error, TradewindError)
    [problem] = error.problems
    assert (problem.code, problem.path) == ("TW344", "sources.pages")
    assert "AIRFLOW_CONN_S3_LETTERS" in str(problem.fix)


def test_history_says_how_far_each_commit_moved_its_sources(letters: Letters, typed: Typed) -> None:
    body = json.loads(typed(letters.root, "lake", "history", WORDS, "--format", "json").stdout)
    moved = {id: move for commit in body["commits"] for id, move in commit["positions"].items()}
    ids = [f"kafka:{letters.topic}:{n}" for n in (0, 1)]
    assert {id: moved.pop(id) for id in ids} == {id: {"from": None, "to": SENT // 2} for id in ids}
    assert sorted(moved) == [f"{id}@topic" for id in ids], "and which topic that is"
    body = json.loads(typed(letters.root, "lake", "history", PAGES, "--format", "json").stdout)
    newest = body["commits"][0]
    assert (newest["run"], newest["rows"]) == ("first", 30)
    counted = {id: move for id, move in newest["positions"].items() if "@" not in id}
    assert counted == {f"object:pages/{page}.csv": {"from": None, "to": 1} for page in range(3)}
    assert len(newest["positions"]) == 6, "and each version's own"
    assert "and 2 more" in typed(letters.root, "lake", "history", PAGES).stdout

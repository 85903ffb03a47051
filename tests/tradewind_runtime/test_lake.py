"""The one committer: each row once, whoever else commits; those who do so at the same moment are in `test_rivals`."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import SCHEMA, START, batches, new_lake, numbers

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, PositionsMovedError


@pytest.fixture
def lake(lake_uri):
    return Lake(lake_uri)


def test_the_same_commit_again_adds_nothing(lake):
    table = lake.table("p/t")
    files = table.stage(batches((0, 1)), SCHEMA)
    version = table.commit(files, schema=SCHEMA, positions={"a": Advance(None, 5)})
    assert (
        table.commit(table.stage(batches((0, 1)), SCHEMA), schema=SCHEMA, positions={"a": Advance(None, 5)}) == version
    )
    assert numbers(table) == [1]
    assert table.position("a") == 5
    assert table.positions(["a", "b"]) == {"a": 5, "b": None}


def test_positions_that_moved_are_told(lake):
    table = lake.table("p/t")
    table.commit([], schema=SCHEMA, positions={"a": Advance(None, 5), "b": Advance(None, 1)})
    for wrong in ({"a": Advance(None, 6)}, {"a": Advance(4, 6)}, {"a": Advance(5, 6), "b": Advance(None, 2)}):
        with pytest.raises(PositionsMovedError):
            table.commit(table.stage(batches((0, 1)), SCHEMA), schema=SCHEMA, positions=wrong)
    assert numbers(table) == []


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans()), max_size=12))
def test_any_interleaving_of_writers_gives_each_row_once(steps):
    """Three writers copy the same log; each stages from what it last knew, and some try their last commit again."""
    table, known = new_lake().table("p/t"), {0: None, 1: None, 2: None}
    for writer, count, again in steps:
        start = known[writer] or 0
        rows = batches(*((n, n) for n in range(start, start + count)))
        move = {"log": Advance(known[writer], start + count)}
        try:
            for _ in range(2 if again else 1):
                table.commit(table.stage(rows, SCHEMA), schema=SCHEMA, positions=move)
            known[writer] = start + count
        except PositionsMovedError:
            known[writer] = table.position("log")
    if table.exists():
        assert numbers(table) == list(range(table.position("log") or 0))


def test_new_columns_are_null_in_older_rows(lake):
    table = lake.table("p/t")
    table.commit(table.stage(batches((0, 1)), SCHEMA), schema=SCHEMA)
    wider = SCHEMA.append(pa.field("gate", pa.string()))
    rows = pa.table({"time": [START], "n": [2], "gate": ["A"]}, schema=wider).to_batches()
    table.commit(table.stage(rows, wider), schema=wider)
    table.commit(table.stage(batches((0, 3)), SCHEMA), schema=SCHEMA)
    found = table.snapshot().to_arrow()
    assert dict(zip(found["n"].to_pylist(), found["gate"].to_pylist(), strict=True)) == {1: None, 2: "A", 3: None}


def test_a_table_that_is_not_there_says_so(lake):
    assert lake.table("p/t").version() is None
    assert lake.table("p/t").position("a") is None
    assert not lake.table("p/t").exists()
    with pytest.raises(StepError, match="TW520"):
        lake.table("p/t").snapshot()


def test_history_keeps_what_a_commit_was_given(lake):
    table = lake.table("p/t")
    table.commit([], schema=SCHEMA, positions={"a": Advance(None, 1)}, metadata={"run_id": "r1"})
    version = table.commit([], schema=SCHEMA, positions={"a": Advance(1, 2)}, metadata={"run_id": "r2"})
    assert table.version_with("run_id", "r2") == version
    assert table.version_with("run_id", "r3") is None


def test_what_others_have_done_is_seen_by_whoever_has_read_before(lake):
    """Only what has come since is read; a checkpoint of the log between does not matter."""
    mine, others = lake.table("p/t"), lake.table("p/t")
    for number in range(205):  # two checkpoints
        others.commit(
            others.stage(batches((number, number)), SCHEMA),
            schema=SCHEMA,
            positions={"k": Advance(number or None, number + 1)},
        )
        if number in (0, 1, 7, 99, 100, 101, 204):
            assert mine.position("k") == number + 1
            assert mine.version() == others.version()
            assert mine.snapshot().count() == number + 1
    others.add_columns([pa.field("more", pa.int64())])
    assert "more" in mine.snapshot().schema.names
    before = mine.version()
    mine.commit([], schema=SCHEMA, positions={"k": Advance(205, 300)})
    assert others.position("k") == 300
    assert others.snapshot(before).version == before


def test_history_of_an_older_version_tells_of_no_later_one(lake, monkeypatch):
    table = lake.table("p/t")
    for n in range(6):
        table.commit(table.stage(batches((0, n)), SCHEMA), schema=SCHEMA, metadata={"n": n})
    told = {version: version - 1 for version in range(1, 7)}
    assert {one.version: one.told["n"] for one in table.history(4, 2)} == {4: told[4], 3: told[3]}
    assert [one.version for one in table.history(4)] == [4, 3, 2, 1, 0]
    assert [one.version for one in table.history(limit=1)] == [6]

    listed = DeltaTable.history

    def late(self, limit=None):
        """A rival commits before the log is listed."""
        monkeypatch.setattr(DeltaTable, "history", listed)
        rival = Lake(lake.root).table("p/t")
        rival.commit(rival.stage(batches((0, 9)), SCHEMA), schema=SCHEMA, metadata={"n": 6})
        return listed(self, limit)

    monkeypatch.setattr(DeltaTable, "history", late)
    assert {one.version: one.told["n"] for one in table.history(4, 2)} == {4: told[4], 3: told[3]}


FOREIGN = [
    ({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors", "timestampNtz"],
      "writerFeatures": ["deletionVectors", "timestampNtz"]}, {}, "deletionVectors"),
    ({"minReaderVersion": 2, "minWriterVersion": 5}, {"delta.columnMapping.mode": "name"}, "columnMapping"),
    ({"minReaderVersion": 2, "minWriterVersion": 5}, {}, None),
    ({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz", "columnMapping"],
      "writerFeatures": ["timestampNtz", "columnMapping"]}, {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "configuration", "unknown"), FOREIGN)
def test_a_table_that_others_write_otherwise_is_not_read_wrongly(lake, protocol, configuration, unknown):
    table = lake.table("p/t")
    table.commit(table.stage(batches((0, 3)), SCHEMA), schema=SCHEMA)
    log = Path(table.uri) / "_delta_log"
    lines = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    meta = next(line["metaData"] for line in lines if "metaData" in line)
    meta["configuration"] |= configuration
    if configuration:
        columns = json.loads(meta["schemaString"])
        for id, field in enumerate(columns["fields"], 1):
            name = {"delta.columnMapping.id": id, "delta.columnMapping.physicalName": f"of-another-{id}"}
            field["metadata"] = name
        meta["schemaString"] = json.dumps(columns)
    actions = [{"protocol": protocol}, {"metaData": meta}]
    (log / f"{2:020}.json").write_text("\n".join(map(json.dumps, actions)))
    for known in (table, Lake(lake.root).table("p/t")):
        if unknown is None:
            assert numbers(known) == [3]
            continue
        for asked in (known.snapshot, known.schema, lambda known=known: known.commit([], schema=SCHEMA)):
            with pytest.raises(StepError, match=rf"TW536(.|\n)*{unknown}") as caught:
                asked()
            assert not caught.value.retryable

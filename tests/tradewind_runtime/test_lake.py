"""The one committer: each row once, whoever else commits; those who do so at the same moment are in `test_rivals`."""

import pyarrow as pa
import pytest
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

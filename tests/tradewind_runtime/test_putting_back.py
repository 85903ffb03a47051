"""Refused messages that are read again: each that is good now is a row once, whatever happens in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import new_lake

from tradewind_runtime import putting_back, quarantine, waiting
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, PositionsMovedError, Table
from tradewind_runtime.putting_back import PutBack, Tables, put_back
from tradewind_runtime.quarantine import Bad
from tradewind_runtime.snapshot import Snapshot
from tradewind_runtime.sources import Access
from tradewind_runtime.sources.columns import KAFKA_TIMESTAMP, PROVENANCE
from tradewind_runtime.verify import verify_table

SENT = datetime(2013, 1, 4, 5, tzinfo=UTC)
NOT_JSON = "not JSON: Expecting value: line 1 column 1 (char 0)"
SCHEMA = pa.schema([("n", pa.int64()), *PROVENANCE, KAFKA_TIMESTAMP])


def source(columns: dict[str, str] | None = None, **kafka: Any) -> Source:
    return Source.model_validate({"kafka": {"topic": "t"} | kafka, "columns": columns or {"n": "double"}})


class Place:
    """A table of which some messages were refused: those of `bad`, by offset, of one partition."""

    def __init__(self, lake: Lake, bad: dict[int, bytes | None], end: int = 10, **more: Any) -> None:
        self.lake = lake
        self.tables = Tables(lake.table("p/s_raw"), lake.table("p/s_quarantine"))
        good = [offset for offset in range(end) if offset not in bad]
        rows = pa.table([good, ["t-0"] * len(good), good, [SENT] * len(good), [SENT] * len(good)], schema=SCHEMA)
        move = {"kafka:t:0": Advance(None, end)}
        raw = self.tables.raw
        raw.commit(raw.stage(rows.to_batches(), SCHEMA), schema=SCHEMA, positions=move)
        self.refuse(*(Bad("t-0", offset, "column n", content, **more) for offset, content in bad.items()))

    def refuse(self, *bad: Bad, stage: str = "ingest") -> None:
        table, rows = self.tables.refused, quarantine.to_arrow(bad, stage)
        table.commit(table.stage(rows.to_batches(), quarantine.SCHEMA), schema=quarantine.SCHEMA)

    def replay(self, of: Source | None = None, **mended: bytes | None) -> PutBack:
        places = {("t-0", int(offset.removeprefix("at"))): content for offset, content in mended.items()}
        return put_back(of or source(), Access(self.lake), self.tables, places)

    def rows(self) -> dict[int, Any]:
        found = self.tables.raw.snapshot().to_arrow(["_position", "n"]).to_pylist()
        assert len({row["_position"] for row in found}) == len(found), "no row is there twice"
        return {row["_position"]: row["n"] for row in found}

    def refused(self) -> list[tuple[str, int]]:
        found = self.tables.refused.snapshot().to_arrow(["stage", "position"]).to_pylist()
        return sorted((row["stage"], row["position"]) for row in found)

    def sound(self) -> bool:
        return all(line.ok for line in verify_table(self.lake, "p/s_raw"))


@pytest.fixture
def place(lake_uri: str) -> Place:
    return Place(Lake(lake_uri), {3: b'{"n": 1.5}', 5: b"broken", 7: b'{"n": 7}'})


def test_what_the_columns_of_today_take_becomes_rows_once(place: Place) -> None:
    assert place.replay() == PutBack(rows=2, left=1, reasons={NOT_JSON: 1})
    assert place.rows() == {offset: float(offset) for offset in (0, 1, 2, 4, 6, 7, 8, 9)} | {3: 1.5}
    assert place.refused() == [("ingest", 5)]
    assert place.sound()
    assert place.replay().rows == 0
    assert len(place.rows()) == 9


def test_contents_that_somebody_has_mended_take_the_place_of_the_refused(place: Place) -> None:
    assert place.replay(source({"n": "long"}), at5=b'{"n": 50}').rows == 2
    assert (place.rows()[5], place.rows()[7]) == (50, 7)
    assert place.refused() == [("ingest", 3)]


def test_what_nobody_refused_cannot_be_mended(place: Place) -> None:
    with pytest.raises(StepError, match=r"TW531(.|\n)*t-0 at 42"):
        place.replay(at42=b"{}")
    assert len(place.rows()) == 7


def test_the_same_mended_messages_again_are_done_already(place: Place) -> None:
    mended = {"at5": b'{"n": 50}', "at7": b'{"n": 70}'}
    assert place.replay(**mended).rows == 3
    assert place.replay(**mended).rows == 0
    assert (place.rows()[5], place.rows()[7]) == (50, 70)


def test_what_checks_refused_and_other_topics_stay(place: Place) -> None:
    place.refuse(Bad("t-0", 1, "expect_…", b'{"n": 1}'), stage="check")
    place.refuse(Bad("other-0", 2, "column n", b'{"n": 2}'))
    place.replay()
    assert place.refused() == [("check", 1), ("ingest", 2), ("ingest", 5)]


def test_what_lies_ahead_of_the_rows_is_left_to_the_source(place: Place) -> None:
    """A kill between the two commits of ingestion leaves it so, and then the chunk is read again."""
    place.refuse(Bad("t-0", 10, "column n", b'{"n": 10}'))
    place.replay()
    assert 10 not in place.rows()
    assert ("ingest", 10) in place.refused()


def test_an_object_is_written_again_instead(place: Place) -> None:
    with pytest.raises(StepError, match=r"TW531(.|\n)*objects"):
        place.replay(Source.model_validate({"objects": {"uri": "a.csv"}}))


def test_parts_that_were_kept_are_there_again(lake_uri: str) -> None:
    kept = {"time": 1_357_275_600_000, "key": b"7", "headers": '[["a", "x"]]'}
    place = Place(Lake(lake_uri), {3: b'{"n": 1.5}'}, **kept)
    keep = {"key": "flight", "headers": "headers", "timestamp": "sent", "offset": "at"}
    place.replay(source({"n": "double", "flight": "long"}, keep=keep))
    (row,) = (one for one in place.tables.raw.snapshot().to_arrow().to_pylist() if one["_position"] == 3)
    told = {name: row[name] for name in ("flight", "headers", "sent", "at", "_timestamp", "_source")}
    assert told == {
        "flight": 7, "headers": '[["a", "x"]]', "sent": SENT, "at": 3, "_timestamp": SENT, "_source": "t-0",
    }  # fmt: skip


def test_a_quarantine_of_an_older_version_has_no_times(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    table = place.lake.table("p/s_quarantine_old")
    old = pa.schema([one for one in quarantine.SCHEMA if one.name not in ("time", "key", "headers")])
    rows = quarantine.to_arrow([Bad("t-0", 3, "column n", b'{"n": 1.5}')], "ingest").select(old.names)
    table.commit(table.stage(rows.to_batches(), old), schema=old)
    monkeypatch.setattr(place, "tables", replace(place.tables, refused=table))
    assert place.replay().rows == 1
    assert place.rows()[3] == 1.5


def test_a_kill_between_the_commits_doubles_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Table.commit

    def killed(self: Table, *args: Any, **more: Any) -> int:
        if self.name.endswith("_quarantine"):
            raise KeyboardInterrupt
        return whole(self, *args, **more)

    monkeypatch.setattr(Table, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        place.replay()
    monkeypatch.undo()
    assert not place.sound(), "verify tells of it"
    assert place.replay().rows == 0
    assert len(place.rows()) == 9
    assert place.refused() == [("ingest", 5)]
    assert place.sound()


def test_no_row_comes_into_memory_but_those_that_are_refused_too(
    lake_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many lie between the first refused message and the last."""
    place = Place(Lake(lake_uri), {0: b'{"n": 0}', 4_999: b"broken"}, end=5_000)
    read = rows_read(monkeypatch)
    made = listed(monkeypatch)
    assert place.replay(source({"n": "long"}), at4999=b'{"n": 7}').rows == 2
    assert sum(read["p/s_raw"]) == 0, "none of them is a row"
    assert max(made) <= 2
    place.refuse(*(Bad("t-0", offset, "column n", b'{"n": 0}') for offset in (0, 2_500, 4_999)))
    read.clear()
    assert place.replay(source({"n": "long"})) == PutBack(rows=0, left=0, reasons={})
    assert sum(read["p/s_raw"]) == 3
    assert max(made) <= 3
    assert len(place.rows()) == 5_000
    monkeypatch.undo()
    assert place.sound()


def rows_read(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Of each table how many rows each batch had that has come from its files."""
    found, whole = defaultdict[str, list[int]](list), Snapshot.dataset

    class Seen:
        def __init__(self, snapshot: Snapshot) -> None:
            self.name, self.dataset = snapshot.table.name, whole(snapshot)

        def to_batches(self, **asked: Any) -> Iterator[pa.RecordBatch]:
            for batch in self.dataset.to_batches(**asked):
                found[self.name].append(batch.num_rows)
                yield batch

        def to_table(self, **asked: Any) -> pa.Table:
            return pa.Table.from_batches(self.to_batches(**asked), self.dataset.scanner(**asked).projected_schema)

    def dataset(snapshot: Snapshot) -> Seen:
        return Seen(snapshot)

    monkeypatch.setattr(Snapshot, "dataset", dataset)
    return found


def listed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many places became Python's each time."""
    found, whole = [0], putting_back._places

    def places(rows: pa.Table) -> list[tuple[str, int]]:
        found.append(rows.num_rows)
        return whole(rows)

    monkeypatch.setattr(putting_back, "_places", places)
    return found


def test_very_many_are_read_a_few_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.refuse(*(Bad("t-0", offset, "column n", b'{"n": 0.5}') for offset in (4, 8, 9)))  # which are rows
    monkeypatch.setattr(waiting, "READ", 1)
    monkeypatch.setattr(waiting, "ROW_GROUP", 2)
    made = listed(monkeypatch)
    assert place.replay() == PutBack(rows=2, left=1, reasons={NOT_JSON: 1})
    assert max(made) == 2
    assert place.rows() == {offset: float(offset) for offset in (0, 1, 2, 4, 6, 7, 8, 9)} | {3: 1.5}
    assert place.refused() == [("ingest", 5)]
    assert place.sound()


def test_a_rival_amid_very_many(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this one has done before that is counted, and not done again."""
    monkeypatch.setattr(waiting, "READ", 1)
    monkeypatch.setattr(waiting, "ROW_GROUP", 1)
    whole, commits = Table.commit, []

    def commit(self: Table, *args: Any, **more: Any) -> int:
        commits.append(self.name)
        if len(commits) == 3:  # its third message
            assert place.replay(at5=b'{"n": 50}').rows == 2
        return whole(self, *args, **more)

    monkeypatch.setattr(Table, "commit", commit)
    assert place.replay() == PutBack(rows=1, left=1, reasons={NOT_JSON: 1})
    assert place.rows() == {offset: float(offset) for offset in range(10)} | {3: 1.5, 5: 50.0}
    assert place.refused() == []


def test_of_two_at_once_each_does_what_the_other_has_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, raced = Table.commit, []

    def commit(self: Table, *args: Any, **more: Any) -> int:
        if not raced:
            raced.append(True)
            assert place.replay().rows == 2
        return whole(self, *args, **more)

    monkeypatch.setattr(Table, "commit", commit)
    assert place.replay(at5=b'{"n": 50}') == PutBack(rows=1, left=0, reasons={})
    assert place.rows() == {offset: float(offset) for offset in range(10)} | {3: 1.5, 5: 50.0}
    assert place.refused() == []


def test_it_gives_up_where_others_are_always_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(self: Table, *args: Any, **more: Any) -> int:
        raise PositionsMovedError(self.name)

    monkeypatch.setattr(Table, "commit", commit)
    with pytest.raises(StepError, match="TW521"):
        place.replay()


@settings(max_examples=15)
@given(st.dictionaries(st.integers(0, 9), st.sampled_from([b'{"n": 1}', b'{"n": 0.5}', b"x", None]), max_size=6))
def test_each_message_is_a_row_or_a_refused_one(bad: dict[int, bytes | None]) -> None:
    place = Place(new_lake(), bad)
    place.replay()
    refused = [position for _, position in place.refused()]
    assert sorted([*place.rows(), *refused]) == list(range(10))
    assert sorted(refused) == [offset for offset, content in sorted(bad.items()) if content in (b"x", None)]

"""Positions of many sources, read from the log at once, are those that delta-rs gives one by one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from tests.tradewind_runtime.tables import SCHEMA, new_lake

from tradewind_runtime import positions
from tradewind_runtime.history import Advance
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.positions import Positions

IDS = [f"object:a {n}.csv" for n in range(60)]


def advanced(table: Table, ids: list[str], before: int | None, after: int) -> None:
    table.commit([], schema=SCHEMA, positions={id: Advance(before, after) for id in ids})


@pytest.fixture
def table() -> Table:
    made = new_lake().table("demo/t")
    advanced(made, IDS[:40], None, 1)
    advanced(made, IDS[10:20], 1, 2)
    return made


@pytest.fixture(autouse=True)
def together(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Nothing is asked one by one in these tests, or they would say nothing; but where the log cannot be read so."""
    if "not_of_the_plain_form" in request.node.name or "before_the_newest" in request.node.name:
        return

    def read(*given: Any) -> Any:
        found = whole(*given)
        assert found is not None
        return found

    whole = Positions.upto
    monkeypatch.setattr(Positions, "upto", read)


def positions_of(table: Table, handle: DeltaTable) -> dict[str, int | None]:
    return Positions(table.filesystem, f"{table.uri}/_delta_log").of(handle, IDS)


def one_by_one(table: Table, version: int | None = None) -> dict[str, int | None]:
    handle = DeltaTable(table.uri, version=version)
    return {id: handle.transaction_version(id) for id in IDS}


def test_of_a_log_of_commits(table: Table) -> None:
    assert table.positions(IDS) == one_by_one(table)
    assert sorted({at for at in table.positions(IDS).values() if at}) == [1, 2]
    assert list(table.positions(IDS).values()).count(None) == 20


def test_of_a_checkpoint_and_what_came_after_it(table: Table) -> None:
    DeltaTable(table.uri).create_checkpoint()
    assert table.positions(IDS) == one_by_one(table)
    advanced(table, IDS[15:20], 2, 3)
    assert table.positions(IDS) == one_by_one(table)


def test_of_a_version_before_the_newest_checkpoint(table: Table) -> None:
    handle = DeltaTable(table.uri)
    advanced(table, IDS[:5], 1, 7)
    DeltaTable(table.uri).create_checkpoint()
    found = positions_of(table, handle)
    assert found == one_by_one(table, handle.version())
    assert set(found.values()) == {None, 1, 2}


def test_of_a_log_that_is_not_of_the_plain_form(table: Table) -> None:
    handle, wanted = DeltaTable(table.uri), one_by_one(table)
    (Path(table.uri) / "_delta_log/_last_checkpoint").write_text('{"version": 1, "size": 2, "parts": 2}')
    assert positions_of(table, handle) == wanted


def test_what_was_read_is_read_on_from_and_not_again(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    commit = positions._commit

    def counted(filesystem: Any, log: str, version: int) -> dict[str, int]:
        asked.append(version)
        return commit(filesystem, log, version)

    monkeypatch.setattr(positions, "_commit", counted)
    first, before = table.version(), table.positions(IDS)
    advanced(table, IDS[:3], 1, 5)
    assert table.positions(IDS) == one_by_one(table) != before
    assert table.positions(IDS, first) == before
    newest = table.version() or 0
    once, older = asked[:-newest], asked[-newest:]
    assert sorted(once) == sorted({*once})
    assert (once[-1], sorted(older)) == (newest, [*range(newest)]), "an older version is read by itself"


def test_a_commit_reads_the_log_on_however_few_are_asked_for(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """delta-rs reads all that came since the checkpoint, for each of them."""
    monkeypatch.delattr(DeltaTable, "transaction_version")
    assert table.position(IDS[0]) == 1
    monkeypatch.setattr(positions, "_checkpoint", None)
    advanced(table, IDS[:2], 1, 5)
    assert table.positions(IDS[:3]) == dict(zip(IDS, (5, 5, 1), strict=False))


def test_a_checkpoint_is_read_once_where_nothing_has_come_after_it(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    DeltaTable(table.uri).create_checkpoint()
    again = Lake("file://" + table.uri.removesuffix("/tables/demo/t")).table("demo/t")
    before = again.positions(IDS)
    monkeypatch.setattr(positions, "_checkpoint", None)
    assert again.positions(IDS) == before == one_by_one(table)


def test_of_a_table_that_was_deleted_and_made_again(table: Table) -> None:
    assert set(table.positions(IDS[:40]).values()) == {1, 2}
    newest = table.version() or 0
    shutil.rmtree(table.uri)
    again = Lake("file://" + table.uri.removesuffix("/tables/demo/t")).table("demo/t")
    for at in range(1, newest + 2):
        advanced(again, IDS[30:], at - 1 or None, at)
    assert again.uri == table.uri
    assert table.positions(IDS) == one_by_one(again)
    assert table.positions(IDS)[IDS[0]] is None


def test_what_was_gone_of_a_log_is_asked_for_again(table: Table) -> None:
    before, newest = table.positions(IDS), table.version() or 0
    log = Path(table.uri) / "_delta_log"
    last = log / f"{newest:020}.json"
    found = Positions(table.filesystem, str(log))
    found.upto(newest - 1)
    last.rename(log / "away")
    with pytest.raises(AssertionError):
        found.upto(newest)
    (log / "away").rename(last)
    assert {id: (found.upto(newest) or {}).get(id) for id in IDS} == before


def test_a_log_that_was_cleaned_is_read_from_its_checkpoint(table: Table) -> None:
    before, newest = table.positions(IDS), table.version() or 0
    found = Positions(table.filesystem, f"{table.uri}/_delta_log")
    found.upto(newest - 1)
    DeltaTable(table.uri).create_checkpoint()
    for commit in Path(found.log).glob("*.json"):
        commit.unlink()
    assert {id: (found.upto(newest) or {}).get(id) for id in IDS} == before


def test_of_no_table() -> None:
    assert new_lake().table("demo/none").positions(IDS) == dict.fromkeys(IDS)

"""Many small objects: several in a commit, each once, also when one is killed, broken or written again among them."""

from __future__ import annotations

import gzip
import os
import threading
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tradewind_runtime.sources.project import Project, objects
from tests.tradewind_runtime.steprun import rows, wait_for

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.lake import Lake, Table
from tradewind_runtime.sources import Access, BrokenObjectsError, Chunk, files
from tradewind_runtime.sources import objects as reader
from tradewind_runtime.sources.files import csv
from tradewind_runtime.sources.files.base import at_once
from tradewind_runtime.sources.writing import Written, write
from tradewind_runtime.widening import fit

EVERY = objects("in/*.csv", columns={"n": "long"}, max_bad=1_000)


@pytest.fixture
def project(tmp_path: Path, lake_uri: str) -> Project:
    return Project(tmp_path / "a project", lake_uri)


def version(project: Project) -> int:
    return Lake(project.lake).table("demo/flights_raw").version() or 0


def test_two_thousand_objects_come_in_two_commits(project: Project) -> None:
    for number in range(2_000):
        project.write(f"in/{number:05}.csv", f"n\n{number}\n{'x' if number % 100 == 0 else -number}\n")
    result = project.ingest(EVERY)
    assert result.metrics == result.metrics | {"rows": 3_980, "bad": 20}
    assert (len(result.facts["positions"]), result.facts["positions_moved"]) == (200, 4_000), "two of each object"
    assert version(project) == 2, "after the one that made it"
    found = {(row["_source"], row["_position"]): row["n"] for row in rows(project.lake)}
    wanted = {(f"in/{n:05}.csv", at): value for n in range(2_000) for at, value in enumerate((n, -n))}
    bad = {(f"in/{n:05}.csv", 1) for n in range(0, 2_000, 100)}
    assert found == {place: value for place, value in wanted.items() if place not in bad}
    assert len(rows(project.lake, "flights_quarantine")) == 20
    assert project.ingest(EVERY).metrics["rows"] == 0
    files = Lake(project.lake).table("demo/flights_raw").snapshot().files
    assert sum(pq.read_metadata(path).num_row_groups for path in files) == 2, "rows of many objects lie together"


@pytest.mark.parametrize("dies_in", ["_raw", "_quarantine"])
def test_a_kill_between_two_commits_loses_and_doubles_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    monkeypatch.setattr(reader, "TOGETHER", 10)
    for number in range(35):
        project.write(f"in/{number:02}.csv", f"n\n{number}\nx{number}\n")
    commit, commits = Table.commit, []

    def dies(self: Table, files: Any, **more: Any) -> int:
        if self.name.endswith(dies_in):
            commits.append(self.name)
            if len(commits) == 3:
                raise KeyboardInterrupt
        return commit(self, files, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "commit", dies)
        with pytest.raises(KeyboardInterrupt):
            project.ingest(EVERY)
    assert project.column() == list(range(20))
    monkeypatch.setattr(reader, "TOGETHER", 7)  # what was told to the quarantine is by object, not by commit
    project.write("in/005.csv", "n\n100\n")
    project.ingest(EVERY)
    assert project.column() == [*range(35), 100]
    assert sorted(row["content"] for row in rows(project.lake, "flights_quarantine")) == sorted(
        f"x{number}".encode() for number in range(35)
    )


def test_what_was_written_again_takes_its_own_rows_place_among_new_ones(project: Project) -> None:
    for name in "bdf":
        project.write(f"in/{name}.csv", f"n\n{ord(name)}\n")
    project.ingest(EVERY)
    before = version(project)
    for name in "abcde":
        project.write(f"in/{name}.csv", f"n\n{ord(name)}\n{ord(name) * 10}\n")
    project.ingest(EVERY)
    assert project.column() == sorted([*(ord(name) * times for name in "abcde" for times in (1, 10)), ord("f")])
    assert version(project) - before == 5, "a, b, c, d and e"


def test_a_broken_one_holds_no_other_back(project: Project) -> None:
    for name in "abde":
        project.write(f"in/{name}.csv", f"n\n{ord(name)}\n")
    project.write("in/c.csv", b"\xff\xfen\n1\n")
    for _ in range(2):
        with pytest.raises(StepError, match=r"TW527: in/c\.csv cannot be read"):
            project.ingest(EVERY)
        assert project.column() == [ord(name) for name in "abde"]
    project.write("in/c.csv", "n\n0\n")
    project.ingest(EVERY)
    assert project.column() == [0, *map(ord, "abde")]


def test_those_that_are_broken_in_their_midst_hold_no_other_back(project: Project) -> None:
    """Cut off: their first rows are read before it shows. One was there before, whole."""
    lines = "".join(f'{{"n": {number}}}\n' for number in range(100_000)).encode()
    every = objects("in/*.json.gz", columns={"n": "long"}, max_bad=1_000)
    project.write("in/d.json.gz", gzip.compress(b'{"n": 4}\n'))
    project.ingest(every)
    for name in "ace":
        project.write(f"in/{name}.json.gz", gzip.compress(b'{"n": 1}\n'))
    for name in "bd":
        project.write(f"in/{name}.json.gz", gzip.compress(lines)[:-1000])
    for _ in range(2):
        with pytest.raises(StepError, match=r"TW527: in/b\.json\.gz cannot be read") as caught:
            project.ingest(every)
        assert caught.value.problems[0].got == "also in/d.json.gz"
        assert project.column() == [1, 1, 1, 4], "an older version stays until there is a better one"
    project.write("in/b.json.gz", gzip.compress(lines))
    project.write("in/d.json.gz", gzip.compress(b'{"n": 5}\n'))
    project.ingest(every)
    assert project.column() == sorted([1, 1, 1, 5, *range(100_000)])


@pytest.mark.parametrize("how", ["at their beginning", "in their midst"])
def test_however_many_are_broken_all_others_are_taken_in_and_nothing_is_read_often(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    lines = "".join(f'{{"n": {number}}}\n' for number in range(20_000)).encode()
    cut = gzip.compress(lines)[:-1000] if how == "in their midst" else b"no gzip"
    for number in range(60):
        project.write(f"in/{number:02}.json.gz", cut if number % 2 else gzip.compress(b'{"n": %d}\n' % number))
    opened = files.open_rows
    asked: list[Path] = []

    def counted(path: Path, *args: Any, **more: Any) -> Any:
        asked.append(path)
        return opened(path, *args, **more)

    monkeypatch.setattr(reader, "open_rows", counted)
    with pytest.raises(StepError, match=r"in/01\.json\.gz cannot be read") as caught:
        project.ingest(objects("in/*.json.gz", columns={"n": "long"}))
    assert (
        caught.value.problems[0].got
        == "also " + ", ".join(f"in/{n:02}.json.gz" for n in (3, 5, 7, 9, 11)) + " and more"
    )
    assert project.column() == list(range(0, 60, 2))
    assert len(asked) <= 3 * 60
    assert version(project) <= 3, "and not a commit for each"


def test_one_that_breaks_in_its_midst_gives_the_table_no_columns(project: Project) -> None:
    lines = b'{"n": 1, "more": 1}\n' * 600_000  # more than one block
    project.write("in/a.json.gz", gzip.compress(b'{"n": 1}\n'))
    project.write("in/b.json.gz", gzip.compress(lines)[:-1000])
    with pytest.raises(StepError, match="TW527"):
        project.ingest(objects("in/*.json.gz"))
    assert [column for column in rows(project.lake)[0] if not column.startswith("_")] == ["n"]


def test_those_that_changed_hold_no_other_back(project: Project) -> None:
    for name in "abcd":
        project.write(f"in/{name}.csv", f"n\n{ord(name)}\n")
    end = project.end(EVERY)
    project.write("in/b.csv", "n\n1\n2\n")
    (project.path / "in/c.csv").unlink()
    with pytest.raises(StepError, match=r"TW526: in/b\.csv changed") as caught:
        project.ingest(EVERY, end)
    assert caught.value.problems[0].got == "also in/c.csv"
    assert project.column() == [ord("a"), ord("d")]
    with pytest.raises(StepError, match=r"TW526: in/c\.csv vanished"):
        project.ingest(EVERY, {"in/c.csv": end["in/c.csv"]})
    project.ingest(EVERY)
    assert project.column() == [1, 2, ord("a"), ord("d")]


@pytest.fixture
def taken(project: Project) -> Callable[..., Generator[Chunk, None, None]]:
    """Chunks of files of a folder, one each."""

    def chunks_of(*names: str, **more: Any) -> Generator[Chunk, None, None]:
        access = Access(lake=Lake(project.lake), project=project.path, chunk_rows=0, **more)
        end = project.end(EVERY)
        wanted = [reader.Wanted(name, end[name], name, f"{name}@", None, None) for name in names]
        return reader.chunks(EVERY, access, wanted, None)

    return chunks_of


@pytest.mark.parametrize(("how", "content"), [("vanished", None), ("changed", b"\xff\xfe\0junk"), ("changed", b"n\n")])
def test_one_that_is_another_since_it_was_opened_is_not_taken_for_a_broken_one(
    project: Project, taken: Callable[..., Iterator[Chunk]], how: str, content: bytes | None
) -> None:
    """It was opened while the one before was in hand."""
    for name in "ab":
        project.write(f"in/{name}.csv", "n\n" + "1\n" * 100_000)
    coming = taken("in/a.csv", "in/b.csv")
    first = next(coming)
    wait_for(lambda: any("reading" in thread.name for thread in threading.enumerate()), 30)
    time.sleep(0.2)
    (project.path / "in/b.csv").unlink()
    if content is not None:
        project.write("in/b.csv", content)
    assert sum(batch.num_rows for batch in first.rows) == 100_000
    with pytest.raises(BrokenObjectsError) as caught:
        deque(batch for chunk in coming for batch in chunk.rows)
    assert f"TW526: in/b.csv {how}" in str(caught.value.errors["in/b.csv"])


def test_to_stop_waits_for_no_file_that_is_read_through_before_its_turn(
    project: Project, taken: Callable[..., Generator[Chunk, None, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        project.write(f"in/{name}.csv", f"n\n{ord(name)}\n")
    parts, seen, going = files.FileRows.parts, [], threading.Event()

    def endless(self: files.FileRows) -> Iterator[Any]:
        (part,) = parts(self)
        while self.origin.key == "in/b.csv" and len(seen) < 3_000:
            seen.append(part)
            going.set()
            time.sleep(0.01)
            yield part

    monkeypatch.setattr(files.FileRows, "parts", endless)
    coming = taken("in/a.csv", "in/b.csv", left_out=["in/c.csv"])
    next(coming)
    assert going.wait(30)
    coming.close()
    assert len(seen) < 3_000


@pytest.mark.parametrize("together", [True, False])
def test_a_file_that_changes_while_it_is_read_gives_no_row(
    project: Project, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    for name in "ab":
        project.write(f"in/{name}.csv", f"n\n{ord(name)}\n")

    def changed(these: Any) -> Any:
        project.write("in/b.csv", "n\n1\n2\n3\n")
        return at_once(these) if together else None

    with monkeypatch.context() as patch:
        patch.setattr(reader, "at_once", changed)
        with pytest.raises(StepError, match=r"TW526: in/b\.csv changed"):
            project.ingest(EVERY)
    assert project.column() == [ord("a")], "what was read with it is read again without it"
    project.ingest(EVERY)
    assert project.column() == [1, 2, 3, ord("a")]


@pytest.mark.parametrize(("most", "groups"), [(2**20, [1, 2, 1, 2]), (12, [1, 1, 1, 1, 1, 1])])
def test_files_of_several_headers_take_turns(
    project: Project, monkeypatch: pytest.MonkeyPatch, most: int, groups: list[int]
) -> None:
    """Those of one are parsed at once, as many as have so many bytes."""
    for number in range(6):
        project.write(f"in/{number}.csv", f"n,m\n{number},9\n" if number % 3 else f"m,n\n9,{number}\n")
    seen: list[list[files.FileRows]] = []

    def noted(these: Any) -> Any:
        seen.append(these)
        return at_once(these)

    monkeypatch.setattr(reader, "at_once", noted)
    monkeypatch.setattr(csv, "TOGETHER", most)
    project.ingest(EVERY)
    assert project.column() == [0, 1, 2, 3, 4, 5]
    assert [*map(len, seen)] == groups
    assert {file.small for these in seen for file in these} == {None}, "contents are let go"


def test_late_and_out_of_order_objects_come_all_the_same(project: Project) -> None:
    for day in ("2013-01-02", "2013-01-04", "2013-01-01", "2013-01-03"):
        project.write(f"in/{day}.csv", f"n\n{day[-1]}\n")
        assert project.ingest(EVERY).metrics["rows"] == 1
    assert project.column() == [1, 2, 3, 4]


def test_columns_and_wider_types_of_later_objects_hold_for_all(project: Project) -> None:
    any_columns = objects("in/*.csv", max_bad=0)
    project.write("in/a.csv", "n,name\n1,a\n")
    project.write("in/b.csv", "n,gate\n2.5,B2\n")
    project.write("in/c.csv", "gate\nC3\n")
    project.ingest(any_columns)
    assert version(project) == 1
    found = sorted((row["_source"][3], row["n"], row["name"], row["gate"]) for row in rows(project.lake))
    assert found == [("a", 1.0, "a", None), ("b", 2.5, None, "B2"), ("c", None, None, "C3")]


def test_no_digit_is_lost_to_a_wider_type_of_a_later_object(project: Project) -> None:
    project.write("in/a.csv", f"n\n{2**53 + 1}\n")
    project.write("in/b.csv", "n\n2.5\n")
    with pytest.raises(StepError, match="TW519"):
        project.ingest(objects("in/*.csv"))


def test_a_hundred_thousand_keys_are_listed(project: Project) -> None:
    folder = project.path / "in"
    folder.mkdir()
    for number in range(100_000):
        (folder / f"{number:06}.csv").touch()
    began = time.monotonic()
    tracemalloc.start()
    try:
        end = project.end(EVERY)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(end) == 100_000
    assert list(end) == sorted(end)
    assert held < 100 * 1024 * 1024
    assert time.monotonic() - began < 60


def test_a_table_that_was_of_one_object_is_not_of_many(project: Project) -> None:
    """What it has of each is not known: some would be there twice, others never."""
    whole = objects("in/*.csv", columns={"n": "long"}, mode="replace")
    project.write("in/a.csv", "n\n1\n")
    project.ingest(whole)
    project.write("in/b.csv", "n\n2\n")
    with pytest.raises(StepError, match=r"TW527: demo/flights_raw was read with mode: replace"):
        project.ingest(EVERY)
    assert project.column() == [1]
    project.ingest(whole)
    assert project.column() == [2]


def test_a_table_of_many_objects_becomes_that_of_the_newest(project: Project) -> None:
    """Also where that was among the many, and where another was the newest before."""
    whole = objects("in/*.csv", columns={"n": "long"}, mode="replace")
    for number, name in enumerate("ab"):
        os.utime(project.write(f"in/{name}.csv", f"n\n{number}\n"), (number, number))
    project.ingest(EVERY)
    assert project.column() == [0, 1]
    project.ingest(whole)
    assert project.column() == [1]
    (project.path / "in/b.csv").unlink()
    project.ingest(whole)
    assert project.column() == [0]


def test_files_of_a_table_that_a_rival_has_made_wider_meanwhile_are_staged_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("in/a.csv", "n\n1\n")
    project.ingest(EVERY)
    table, wider = Lake(project.lake).table("demo/flights_raw"), []

    def overtaken(*of: Any) -> Written:
        written = write(*of)
        if not wider:
            wider.append(fit(table, pa.schema([("n", pa.float64())])))
        return written

    monkeypatch.setattr("tradewind_runtime.steps.ingest.write", overtaken)
    project.write("in/b.csv", "n\n2\n")
    project.ingest(EVERY)
    assert project.column() == [1.0, 2.0]
    assert {pq.read_schema(path).field("n").type for path in table.snapshot().files} == {pa.float64()}


@pytest.mark.parametrize("text", ["a;n\n1;2\n", "x\n"])
def test_a_file_with_none_of_the_table_s_columns_is_refused(project: Project, text: str) -> None:
    """Each of its rows would be of nulls, and count as read."""
    project.write("in/a.csv", text)
    project.write("in/b.csv", "b,n\n2,3\n")
    with pytest.raises(StepError, match=r"TW527: in/a\.csv has none of the table's columns(.|\n)*some of n"):
        project.ingest(EVERY)
    assert project.column() == [3]
    add = objects("in/*.csv", columns={"n": "long"}, new_columns="add", max_bad=1_000)
    project.ingest(add)
    assert len(rows(project.lake)) == text.count("\n"), "where new columns are taken in it is as any other"


def test_columns_that_differ_by_large_letters_alone_are_one_to_a_table(project: Project) -> None:
    project.write("in/a.csv", "n\n1\n")
    project.write("in/b.csv", "N,m\n5,2\n")
    project.write("in/c.csv", "k,K\n1,2\n")
    with pytest.raises(StepError, match=r"TW527: in/c\.csv has a column twice"):
        project.ingest(objects("in/*.csv"))
    assert sorted((row["n"] or 0, row["m"] or 0) for row in rows(project.lake)) == [(0, 2), (1, 0)]

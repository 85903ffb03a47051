"""Small files of one kind are parsed at once where each of their lines is certain to be a row, and give the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tradewind_runtime.sources.files import small
from tests.tradewind_runtime.sources.files.small import as_a_step, one_by_one, refused_of, rows_of

from tradewind_runtime.sources.files.base import at_once

COLUMNS = {"n": "long", "t": "timestamp", "d": "decimal(4,2)", "s": "string"}
HEADER = "n,t,d,s\n"
GOOD = "1,2020-01-01T00:00:00Z,1.25,a\n2,2020-01-02T00:00:00Z,,b\n"


opened = partial(small.opened, columns=COLUMNS, kind="csv")


def test_files_that_are_alike_are_parsed_at_once(tmp_path: Path) -> None:
    contents = [HEADER + GOOD, HEADER + GOOD * 3, (HEADER + GOOD).removesuffix("\n")]
    parts = at_once(opened(tmp_path, contents))
    assert parts is not None
    assert [part.num_rows for part in parts] == [2, 6, 2]
    assert rows_of(parts) == one_by_one(opened(tmp_path, contents))
    assert [row["_position"] for row in rows_of(parts)] == [0, 1, *range(6), 0, 1]
    assert {row["_source"] for row in rows_of(parts)} == {"0.csv", "1.csv", "2.csv"}


@pytest.mark.parametrize(
    "odd",
    [
        'x,2020-01-01T00:00:00Z,1.25,a\n',  # of another type
        '1,2020-01-01T00:00:00Z,1.255,a\n',  # a digit too many
        '1,2020-01-01T00:00:00Z,123.25,a\n',
        '1,2020-01-01T00:00:00Z,100,a\n',  # which Arrow takes for less
        '1,0000-01-01T00:00:00Z,1,a\n',
        '1,30000-01-01T00:00:00Z,1.25,a\n',
        '1,2020-01-01T00:00:00Z,1.25\n',  # too few
        '1,2020-01-01T00:00:00Z,1.25,a,b\n',
        '1,2020-01-01T00:00:00Z,1.25,"a\nb"\n',
        '1,2020-01-01T00:00:00Z,1.25,"a\nb"\r1,2020-01-01T00:00:00Z,1.25,c\n',  # one fewer, one more
        '1,2020-01-01T00:00:00Z,1.25,"a\n',  # until the next file's end
        '\n1,2020-01-01T00:00:00Z,1.25,a\n',
        '1,2020-01-01T00:00:00Z,1.25,a\n\n',
        '1,2020-01-01T00:00:00Z,1.25,a\r\n',
        '1,2020-01-01T00:00:00Z,1.25,a\r2,2020-01-01T00:00:00Z,1.25,a\n',
        '1,2020-01-01T00:00:00Z,1.25,\0\n',
        '1,2020-01-01 00:00:00,1.25,a\n',  # with no zone, as the first says it of all
        ' \n',
        "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_whatever_is_odd_about_one_all_give_the_same(tmp_path: Path, odd: str, first: bool) -> None:
    contents = [HEADER + GOOD, HEADER + (odd + GOOD if first else GOOD + odd), HEADER + GOOD]
    apart, together = opened(tmp_path, contents), opened(tmp_path, contents)
    assert as_a_step(together) == one_by_one(apart)
    assert refused_of(together) == refused_of(apart)


def test_quotes_within_lines_are_no_hindrance(tmp_path: Path) -> None:
    contents = [HEADER + '1,,,"a ""b"", c"\n', HEADER + '"2",,,""\n']
    parts = at_once(opened(tmp_path, contents))
    assert parts is not None
    assert rows_of(parts) == one_by_one(opened(tmp_path, contents))


def test_one_row_fewer_and_one_more_are_not_taken_for_each_other(tmp_path: Path) -> None:
    contents = [HEADER + '1,,,"a\nb"\n', HEADER + "2,,,c\r3,,,d\n", HEADER + "4,,,e\n"]
    apart, together = opened(tmp_path, contents), opened(tmp_path, contents)
    assert as_a_step(together) == one_by_one(apart)


def test_lines_may_end_in_two_bytes(tmp_path: Path) -> None:
    contents = [(HEADER + GOOD).replace("\n", "\r\n"), HEADER + GOOD, (HEADER + GOOD).replace("\n", "\r\n")]
    parts = at_once(opened(tmp_path, contents))
    assert parts is not None
    assert rows_of(parts) == one_by_one(opened(tmp_path, contents))


def test_a_mark_of_byte_order_is_of_the_header_alone(tmp_path: Path) -> None:
    contents = ["\ufeff" + HEADER + "1,,,\ufeffa\n", HEADER + "\ufeff2,,,b\n"]
    for these in (contents, contents[::-1]):
        apart, together = opened(tmp_path, these), opened(tmp_path, these)
        assert as_a_step(together) == one_by_one(apart)
        assert refused_of(together) == refused_of(apart) != []


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_one_may_be_cut_off_within_quotes(tmp_path: Path, end: str) -> None:
    contents = [HEADER + GOOD, HEADER + '1,,,"cut off' + end]
    parts = at_once(opened(tmp_path, contents))
    assert parts is not None
    assert rows_of(parts) == one_by_one(opened(tmp_path, contents))
    assert rows_of(parts)[-1]["s"] == "cut off" + end


def test_other_headers_and_types_are_not_of_one_kind(tmp_path: Path) -> None:
    one, other, none, zoneless = opened(
        tmp_path,
        [HEADER + GOOD, "n,t,s,d\n1,2020-01-01T00:00:00Z,a,1\n", "n\n", HEADER + "1,2020-01-01 00:00:00,1,a\n"],
    )
    assert one.small is not None
    assert other.small is not None
    assert zoneless.small is not None
    assert none.small is None
    assert one.small.kind != other.small.kind
    assert one.small.kind != zoneless.small.kind


def test_a_header_of_two_lines_is_none_of_the_rows(tmp_path: Path) -> None:
    assert [file.small for file in opened(tmp_path, ['n,s,"t\nd"\n1,a,b\n'] * 2)] == [None, None]


def test_one_alone_and_one_that_is_not_small_are_read_as_ever(tmp_path: Path) -> None:
    files = opened(tmp_path, [HEADER + GOOD, HEADER + GOOD * 2_000])
    assert files[1].small is None
    assert at_once(files[:1]) is at_once(files[1:]) is at_once(files) is at_once(files[::-1]) is None


LETTERS = st.text(st.sampled_from('a1.,"\n\r -é\ufeff'), max_size=12)
FIELDS = st.tuples(
    st.sampled_from(["1", "-7", "", "\ufeff1"]), st.sampled_from(["2020-01-01T00:00:00Z", ""]), st.just("1.5"), LETTERS
)


@given(st.lists(st.lists(FIELDS, min_size=1, max_size=4), min_size=2, max_size=5))
def test_any_files_give_the_same(tmp_path_factory: pytest.TempPathFactory, files: list[list[tuple[str, ...]]]) -> None:
    folder = tmp_path_factory.mktemp("small")
    contents = [HEADER + "\n".join(map(",".join, rows)) for rows in files]
    apart, together = opened(folder, contents), opened(folder, contents)
    assert as_a_step(together) == one_by_one(apart)
    assert refused_of(together) == refused_of(apart)

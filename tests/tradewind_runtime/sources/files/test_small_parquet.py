"""Small Parquet files of one schema are decoded at once, and give the same as each by itself."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tradewind_runtime.sources.files import small
from tests.tradewind_runtime.sources.files.small import as_a_step, one_by_one, refused_of, rows_of

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.sources.files import parquet
from tradewind_runtime.sources.files.base import at_once

COLUMNS = {"n": "long", "s": "string", "t": "timestamp"}
opened = partial(small.opened, columns=COLUMNS, kind="parquet")


def content(rows: list[dict[str, Any]] | pa.Table, **options: Any) -> bytes:
    """A file of these."""
    out = io.BytesIO()
    schema = pa.schema([("n", pa.int32()), ("s", pa.string()), ("t", pa.timestamp("ms", "UTC"))])
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema), out, **options)
    return out.getvalue()


ONE, TWO = [{"n": 1, "s": "a", "t": None}], [{"n": 2, "s": "b", "t": 0}, {"n": None, "s": None, "t": -1}]


def test_files_that_are_alike_are_decoded_at_once(tmp_path: Path) -> None:
    contents = [content(ONE), content(TWO, row_group_size=1, compression="zstd"), content([]), content(TWO * 200)]
    parts = at_once(opened(tmp_path, contents))
    assert parts is not None
    assert [part.num_rows for part in parts] == [1, 2, 0, 400]
    assert rows_of(parts) == one_by_one(opened(tmp_path, contents))
    assert [row["_position"] for row in rows_of(parts)] == [0, 0, 1, *range(400)]
    assert [row["_source"] for row in rows_of(parts)][:4] == ["0.parquet", "1.parquet", "1.parquet", "3.parquet"]


def test_and_their_refused_rows_are_each_files_own(tmp_path: Path) -> None:
    tables = [pa.table({"n": texts}) for texts in (["1", "x"], ["y", "2"])]
    apart, together = (opened(tmp_path, [content(table) for table in tables]) for _ in range(2))
    parts = at_once(together)
    assert parts is not None
    assert rows_of(parts) == one_by_one(apart)
    assert refused_of(together) == refused_of(apart) != []


@pytest.mark.parametrize(
    "odd",
    [
        pa.table({"n": pa.array([7], pa.int64()), "s": ["a"], "t": pa.array([None], pa.timestamp("ms", "UTC"))}),
        pa.table({"s": ["a"], "n": pa.array([7], pa.int32()), "t": pa.array([None], pa.timestamp("ms", "UTC"))}),
        pa.table({"n": pa.array([7], pa.int32())}),
        pa.table({"n": pa.array([7], pa.int32()), "s": ["a"], "t": pa.array([0], pa.timestamp("ms"))}),
    ],
    ids=["type", "order", "fewer", "zone"],
)
def test_others_are_not_of_their_kind(tmp_path: Path, odd: pa.Table) -> None:
    usual, other = opened(tmp_path, [content(ONE), content(odd)])
    assert usual.small is not None
    assert other.small is not None
    assert usual.small.kind != other.small.kind


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"a name": ["a"], "n": [1]}),  # which another file may have as it is
        pa.table({"s": pa.array(pd.Categorical(["a"]))}),  # of which each has a dictionary
        pa.table({"n": [[1]]}),
        pa.table({"n": [{"m": 1}]}),
    ],
    ids=["name", "dictionary", "list", "struct"],
)
def test_what_is_not_flat_is_read_by_itself(tmp_path: Path, table: pa.Table) -> None:
    assert [file.small for file in opened(tmp_path, [content(table)] * 2)] == [None, None]


def test_a_large_one_is_too(tmp_path: Path) -> None:
    (large,) = opened(tmp_path, [content(pa.table({"n": range(100_000)}))])
    assert large.small is None


def test_what_a_dictionary_hides_counts(tmp_path: Path) -> None:
    """Else a few bytes of a file, a thousand times, were all of the memory."""
    few, hides = opened(tmp_path, [content(TWO), content(pa.table({"s": ["x" * 10_000] * 30_000}))])
    assert few.small is not None
    assert few.small.share < 0.001
    assert hides.small is not None
    assert hides.small.share > 1
    assert hides.small.share * parquet.TOGETHER >= 30_000 * 10_000


def test_and_so_does_what_is_known_of_each_column(tmp_path: Path) -> None:
    """A thousand wait for their turn."""
    few, wide = opened(
        tmp_path, [content(TWO), content(pa.table({name: [1] for name in ("n", *(f"c{n}" for n in range(99)))}))]
    )
    assert few.small is not None
    assert few.small.held < 20_000
    assert wide.small is not None
    assert wide.small.held > 100 * 2 * parquet.COLUMN
    assert wide.small.share * parquet.TOGETHER > wide.small.held


def test_what_is_no_parquet_is_told_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"TW527: 0.parquet cannot be read: Parquet magic bytes not found"):
        opened(tmp_path, [b"n,s\n1,a\n" * 9])


@pytest.mark.parametrize("at", [0, 1])
def test_one_that_is_broken_is_told_by_itself(tmp_path: Path, at: int) -> None:
    whole = content(TWO * 500, compression="zstd", use_dictionary=False)
    broken = whole[:40] + bytes(byte ^ 0xFF for byte in whole[40:60]) + whole[60:]
    files = opened(tmp_path, [broken, whole] if at == 0 else [whole, broken])
    assert at_once(files) is None
    with pytest.raises(Exception, match=f"TW527: {at}.parquet cannot be read"):
        list(files[at].parts())
    assert len(next(iter(files[1 - at].parts())).table) == 1_000


ROWS = st.fixed_dictionaries(
    {"n": st.none() | st.integers(-(2**31), 2**31 - 1), "s": st.none() | st.text(max_size=5),
     "t": st.none() | st.integers(-(2**40), 2**40)}
)  # fmt: skip
FILES = st.tuples(
    st.lists(ROWS, max_size=9),
    st.fixed_dictionaries(
        {"row_group_size": st.integers(1, 5), "compression": st.sampled_from(["none", "zstd", "snappy"]),
         "use_dictionary": st.booleans(), "data_page_version": st.sampled_from(["1.0", "2.0"])}
    ),
)  # fmt: skip


@given(st.lists(FILES, min_size=2, max_size=6))
def test_any_files_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[list[dict[str, Any]], dict[str, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("small")
    contents = [content(rows, **options) for rows, options in files]
    apart, together = opened(folder, contents), opened(folder, contents)
    assert at_once(opened(folder, contents)) is not None
    assert as_a_step(together) == one_by_one(apart)

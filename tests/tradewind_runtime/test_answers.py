"""What is told of an expectation about all rows at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from great_expectations.execution_engine import pandas_execution_engine

from tradewind_runtime import sifting
from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.expectations import Suite
from tradewind_runtime.lake import Lake

ROWS = pa.table({"carrier": ["AA", "UA", "DL"], "delay": [1, 2, 3]})


@pytest.mark.parametrize(
    ("name", "arguments", "observed"),
    [
        ("distinct_values_to_be_in_set", {"column": "carrier", "value_set": ["AA"]}, "unexpected: DL, UA"),
        ("distinct_values_to_contain_set", {"column": "carrier", "value_set": ["AA", "ZZ"]}, "missing: ZZ"),
        (
            "distinct_values_to_equal_set",
            {"column": "carrier", "value_set": ["AA", "UA", "ZZ"]},
            "unexpected: DL; missing: ZZ",
        ),
        ("distinct_values_to_equal_set", {"column": "carrier", "value_set": ["AA", "UA", "DL"]}, "as expected"),
        ("max_to_be_between", {"column": "delay", "max_value": 2}, "observed 3"),
    ],
)
def test_what_is_observed_of_all_rows(name: str, arguments: dict[str, Any], observed: str) -> None:
    suite = Suite("flights", [Expectation(name=f"expect_column_{name}", arguments=arguments)], ROWS.schema)
    (answer,) = suite.validate(lambda _: iter([ROWS]))
    assert (answer.observed, answer.success, answer.rows) == (observed, observed == "as expected", None)


@pytest.mark.parametrize("name", ["most_common_value_to_be_in_set", "distinct_values_to_be_in_set"])
def test_of_many_values_the_first_are_told_and_kept(name: str) -> None:
    rows = pa.table({"n": [f"a value {n}" for n in range(5_000)]})
    asked = Expectation(name=f"expect_column_{name}", arguments={"column": "n", "value_set": ["a"]})
    suite = Suite("flights", [asked], rows.schema)
    (answer,) = suite.validate(lambda _: iter([rows]))
    assert answer.observed.count(",") == 21
    assert answer.observed.endswith(", and 4,980 more")
    pages = b"".join(content for _, content in suite.docs([answer], "a run"))
    assert pages.count(b"a value ") < 200
    assert len(str(answer.raw.result)) < 1_000


def test_what_is_replaced_in_great_expectations_is_what_it_calls() -> None:
    """Or a fingerprint of each chunk would be taken again, and nobody would see why checks are slow."""
    source = inspect.getsource(pandas_execution_engine)
    assert source.count("hash_pandas_dataframe(") == 2, "where it is defined, and where it is called"


def test_rows_are_judged_with_the_columns_that_are_asked_for() -> None:
    asked: list[object] = []
    suite = Suite(
        "flights",
        [Expectation(name="expect_column_values_to_not_be_null", arguments={"column": "delay"})],
        ROWS.schema,
    )

    def scan(columns: Sequence[str] | None) -> Iterator[pa.Table]:
        asked.append(columns)
        yield ROWS.select(columns)

    (answer,) = suite.validate(scan)
    assert (answer.rows, asked) == (3, [["delay"]])


@pytest.mark.parametrize(
    ("most", "size", "sizes"),
    [(None, 10**9, [4, 4, 2]), (8, 10**9, [8, 2]), (8, 1, [4, 4, 2])],
    ids=["usual", "few columns", "large values"],
)
def test_chunks_are_bounded_by_rows_and_by_bytes(
    lake_uri: str, monkeypatch: pytest.MonkeyPatch, most: int | None, size: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(sifting, "CHUNK", 4)
    monkeypatch.setattr(sifting, "BYTES", size)
    rows, table = pa.table({"n": range(10)}), Lake(lake_uri).table("p/t")
    table.commit(table.stage(rows.to_batches(), rows.schema), schema=rows.schema)
    assert [chunk.num_rows for chunk in sifting.chunks(table.snapshot(), ["n"], most)] == sizes

"""What is told of an expectation about all rows at once."""

from __future__ import annotations

import inspect
from typing import Any

import pyarrow as pa
import pytest
from great_expectations.execution_engine import pandas_execution_engine

from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.expectations import Suite

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


def test_what_is_replaced_in_great_expectations_is_what_it_calls() -> None:
    """Or a fingerprint of each chunk would be taken again, and nobody would see why checks are slow."""
    source = inspect.getsource(pandas_execution_engine)
    assert source.count("hash_pandas_dataframe(") == 2, "where it is defined, and where it is called"

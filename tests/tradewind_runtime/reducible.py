"""Rows of many types, and expectations about all of them at once: what an engine finds must be what pandas finds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from tests.tradewind_runtime.checkable import START

if TYPE_CHECKING:
    from tradewind_runtime.answers import Answer

WIDE = pa.schema(
    [
        ("at", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("day", pa.date32()),
        ("carrier", pa.string()),
        ("gate", pa.string()),
        ("delay", pa.float64()),
        ("half", pa.float32()),
        ("n", pa.int64()),
        ("small", pa.int32()),
        ("price", pa.decimal128(9, 2)),
        ("ok", pa.bool_()),
        ("_source", pa.string()),
        ("_position", pa.int64()),
    ]
)


def wide(count: int, first: int, seed: int) -> pa.Table:
    """Rows with values that are missing, come again, or are not numbers."""
    pick = random.Random(seed)
    numbers = range(first, first + count)

    def some(values: list[Any], missing: float) -> list[Any]:
        return [None if pick.random() < missing else value for value in values]

    moments = [START + timedelta(hours=n, microseconds=n) for n in numbers]
    body = {
        "at": moments,
        "local": [one.replace(tzinfo=None) for one in some(moments, 0)],
        "day": [one.date() for one in moments],
        "carrier": some([pick.choice(["AA", "UA", "é", "b"]) for _ in numbers], 0.2),
        "gate": [pick.choice("ABC") for _ in numbers],
        "delay": some([pick.choice([0.5, -0.0, 0.0, 7.25, 200.0, float("nan")]) for _ in numbers], 0.1),
        "half": some([pick.choice([0.5, 1.5]) for _ in numbers], 0.1),
        "n": [pick.randrange(count) for _ in numbers],
        "small": some([pick.randrange(9) for _ in numbers], 0.1),
        "price": some([Decimal(pick.randrange(999)) / 100 for _ in numbers], 0.1),
        "ok": some([pick.random() < 0.5 for _ in numbers], 0.1),
        "_source": ["flights-0"] * count,
        "_position": list(numbers),
    }
    return pa.table(body, WIDE)


def column(name: str, of: str, **more: Any) -> dict[str, Any]:
    return {f"expect_column_{name}": {"column": of, **more}}


#: Those that are about all rows at once and that Spark reduces.
REDUCED = [
    {"expect_table_row_count_to_be_between": {"min_value": 10}},
    {"expect_table_row_count_to_equal": {"value": 157}},
    *(column("values_to_be_unique", of, mostly=0.3) for of in ("n", "carrier", "delay", "at", "price", "day", "half")),
    {"expect_compound_columns_to_be_unique": {"column_list": ["carrier", "n"], "mostly": 0.3}},
    {"expect_compound_columns_to_be_unique": {"column_list": ["carrier", "delay"]}},
    {"expect_compound_columns_to_be_unique": {"column_list": ["carrier", "small"], "ignore_row_if": "never"}},
    {"expect_compound_columns_to_be_unique": {"column_list": ["at", "n"], "ignore_row_if": "any_value_is_missing"}},
    *(column("sum_to_be_between", of, min_value=1) for of in ("n", "small", "delay")),
    *(column("mean_to_be_between", of, min_value=1) for of in ("n", "small", "delay")),
    *(column("max_to_be_between", of, min_value=0) for of in ("n", "small", "delay", "price", "half")),
    *(column("min_to_be_between", of, max_value=3) for of in ("n", "small", "half")),
    column("max_to_be_between", "at", min_value="2013-01-02"),
    column("min_to_be_between", "local", min_value="2013-01-02"),
    column("max_to_be_between", "day", max_value=date(2013, 1, 3)),
    column("distinct_values_to_be_in_set", "carrier", value_set=["AA", "UA"]),
    column("distinct_values_to_contain_set", "carrier", value_set=["AA", "ZZ"]),
    column("distinct_values_to_equal_set", "gate", value_set=["A", "B", "C"]),
    column("distinct_values_to_equal_set", "small", value_set=[1, 2]),
    *(column("unique_value_count_to_be_between", of, max_value=5) for of in ("carrier", "delay", "n")),
    *(column("proportion_of_unique_values_to_be_between", of, max_value=0.5) for of in ("carrier", "delay")),
    *(column("proportion_of_non_null_values_to_be_between", of, min_value=0.5) for of in ("carrier", "delay", "n")),
    *(column("most_common_value_to_be_in_set", of, value_set=["A", 1, 0.5]) for of in ("gate", "small", "n")),
]
#: Those that are asked on pandas.
ASKED_HERE = [
    column("median_to_be_between", "n", min_value=1),
    column(
        "quantile_values_to_be_between",
        "n",
        quantile_ranges={"quantiles": [0.1, 0.9], "value_ranges": [[0, 100], [0, 100]]},
    ),
    column("value_z_scores_to_be_less_than", "n", threshold=1, double_sided=True, mostly=0.5),
    column("values_to_be_of_type", "n", type_="int64"),
    column("values_to_be_in_type_list", "carrier", type_list=["str"], mostly=0.1),
    column("mean_to_be_between", "n", min_value=1, row_condition="gate == 'A'", condition_parser="pandas"),
    column("values_to_be_unique", "n", mostly=0.1, row_condition="gate == 'A'", condition_parser="pandas"),
    column("max_to_be_between", "n", min_value=1, row_condition="gate == 'A'", condition_parser="pandas"),
    column("sum_to_be_between", "half", min_value=1),
    {"expect_select_column_values_to_be_unique_within_record": {"column_list": ["n", "small"], "mostly": 0.1}},
]


def same_answers(asked: Sequence[Answer], others: Sequence[Answer]) -> None:
    """All that is kept of them, and the examples of uniqueness, which an engine looks for by itself."""
    for here, there in zip(asked, others, strict=True):
        # As text, for what is not a number is like no other.
        assert str(there.facts()) == str(here.facts()), here.text
        assert there.failing.tolist() == here.failing.tolist(), here.text
        assert (there.rows, there.failing_rows, there.share) == (here.rows, here.failing_rows, here.share), here.text
        if "to_be_unique" in here.expectation.name:
            assert _shown(there) == _shown(here), here.text


def _shown(answer: Answer) -> str:
    """On pandas the whole numbers of a column that lacks some are broken ones; so they are here."""
    shown = answer.raw.result["partial_unexpected_list"]
    rows = [list(one.values()) if isinstance(one, dict) else [one] for one in shown]
    return str([[float(one) if isinstance(one, int | float | np.number) else one for one in row] for row in rows])

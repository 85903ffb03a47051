"""Params as they are typed: what Airflow's form would refuse is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tradewind.cli.params import params_of
from tradewind.errors import Problem, TradewindError
from tradewind.spec import Param, load_text

TEXT = """\
version: 1
pipeline: a
sources: {rows: {sample: {name: iris}}}
params:
  rounds: {type: integer, default: 200, min: 10, max: 2000}
  eta: {type: number, default: 0.1, min: 0, max: 1}
  region: {type: string, default: north}
  code: {type: string, default: ab, pattern: "^[a-z]+$"}
  level: {enum: [low, high], default: low}
  since: {type: date, optional: true}
  flags: [a]
"""
DEFAULTS = {"rounds": 200, "eta": 0.1, "region": "north", "code": "ab", "level": "low", "since": None, "flags": ["a"]}


def declared(more: str = "") -> dict[str, Param]:
    return load_text(TEXT + more).params


def refused(*typed: str, more: str = "") -> list[Problem]:
    with pytest.raises(TradewindError) as caught:
        params_of(declared(more), typed)
    return list(caught.value.problems)


def test_defaults_hold_where_nothing_is_typed() -> None:
    assert params_of(declared(), ()) == DEFAULTS


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("rounds=300", 300),
        ("eta=1e-3", 0.001),
        ("eta=1", 1),
        ("region=south", "south"),
        ("region=123", "123"),
        ("region=a: b", "a: b"),
        ("region=[a", "[a"),
        ("region='a = b'", "a = b"),
        ("since=2013-01-31", "2013-01-31"),
        ("since=", None),
        ("flags=[b, c]", ["b", "c"]),
    ],
)
def test_a_value_is_what_it_would_be_in_the_yaml(typed: str, value: Any) -> None:
    name = typed.partition("=")[0]
    assert params_of(declared(), [typed]) == DEFAULTS | {name: value}


@pytest.mark.parametrize(
    ("typed", "got", "expected"),
    [
        ("rounds=banana", "banana", "integer, at least 10, at most 2000"),
        ("rounds=5", 5, "integer, at least 10, at most 2000"),
        ("rounds=2.5", 2.5, "integer, at least 10, at most 2000"),
        ("rounds=", None, "integer, at least 10, at most 2000"),
        ("eta='0.5'", "0.5", "number, at least 0, at most 1"),
        ("code=A1", "A1", "string, of the pattern ^[a-z]+$"),
        ("level=middle", "middle", "one of low, high"),
        ("since=yesterday", "yesterday", "date"),
        ("since=5", 5, "date"),
        ("flags=a", "a", "array"),
        ("flags=[a", "[a", "array"),
    ],
)
def test_a_value_that_is_not_declared_is_refused(typed: str, got: Any, expected: str) -> None:
    [problem] = refused(typed)
    name = typed.partition("=")[0]
    assert (problem.code, problem.got, problem.expected) == ("TW226", got, expected)
    assert problem.path == f"params.{name}"
    assert problem.fix is not None


def test_what_is_required_must_be_given() -> None:
    more = "  key: {type: string, min: 2}\n"
    [problem] = refused(more=more)
    assert (problem.code, problem.path, problem.fix) == ("TW227", "params.key", "-p key=VALUE")
    assert problem.expected == "string, at least 2 characters"
    assert params_of(declared(more), ["key=ab"])["key"] == "ab"


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert [(one.code, one.suggestion) for one in refused("round=3", "eta=2", more="  key: {type: string}\n")] == [
        ("TW224", "rounds"),
        ("TW226", None),
        ("TW227", None),
    ]


def test_a_name_alone_is_no_param() -> None:
    assert [problem.code for problem in refused("rounds")] == ["TW223"]

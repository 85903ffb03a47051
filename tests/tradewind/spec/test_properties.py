"""What holds for every YAML."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import Problem, TradewindError
from tradewind.spec import Pipeline, load_text
from tradewind.spec.nodes import Mapping, Node, Sequence, parse, plain
from tradewind.spec.shape import models_at

EXAMPLES = sorted((Path(__file__).parents[3] / "dags" / "pipelines").glob("*.yaml"))
ALL_BLOCKS = """
version: 1
pipeline: all-blocks
schedule: {cron: "0 6 * * *", start: 2020-01-01, timezone: Europe/Zurich}
params: {rounds: {type: integer, default: 3}}
sources:
  rows:
    kafka: {topic: rows}
    columns: {day: timestamp, late: boolean}
checks:
  rows:
    - expect_column_values_to_not_be_null: {column: day, mostly: 0.9, severity: warn}
transform: {sql: {query: SELECT 1}}
split: {time: day, train: 10d, valid: 1d, test: 36h}
tune: {hyperopt: {space: {a: {int: [1, 2]}, b: {log: [0.1, 1]}, c: {choice: [x]}, d: {float: [0, 1]}}}}
train: {estimator: xgboost.XGBClassifier, label: late, params: {n: "{params.rounds}"}, resources: {cpu: 2}}
evaluate: {by: [day]}
promote: {model: all-blocks, when: {roc_auc: {min: 0.5}}}
deploy: {stage: {min_time: 1s}, abort: {shift: 0.5}}
score: {keep: [day]}
monitor: {drift: {for: 2 of 5}}
alerts: {slack: {channel: "#a", on: [drift]}}
defaults: {resources: {cpu: 1}, steps: {train: {retries: 1}}}
"""
TEXTS = [*(path.read_text() for path in EXAMPLES), ALL_BLOCKS]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("form", [{"exclude_unset": True}, {}, {"exclude_none": True}])
def test_what_is_written_is_read_as_it_was(text: str, form: dict[str, Any]) -> None:
    pipeline = load_text(text)
    dumped = yaml.safe_dump(pipeline.model_dump(mode="json", by_alias=True, **form))
    assert load_text(dumped) == pipeline
    assert Pipeline.model_validate_json(pipeline.model_dump_json(by_alias=True)) == pipeline


def refusals(text: str) -> tuple[Problem, ...]:
    """What a text is refused for; anything but a TradewindError fails the test."""
    try:
        load_text(text)
    except TradewindError as error:
        return error.problems
    return ()


def closed_places(node: Node, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where a key that no model has is refused."""
    if isinstance(node, Sequence):
        return [found for index, item in enumerate(node.items) for found in closed_places(item, (*path, index))]
    if not isinstance(node, Mapping):
        return []
    here = [path] if models_at(Pipeline, path) and path[:1] != ("checks",) else []
    return here + [found for key, item in node.items.items() for found in closed_places(item, (*path, key))]


def placed() -> list[tuple[str, tuple[str | int, ...]]]:
    return [(text, path) for text in TEXTS for path in closed_places(parse(text, "x")[0])]  # type: ignore[arg-type]


def test_every_kind_of_block_is_among_the_places() -> None:
    assert len(placed()) > 30


@settings(max_examples=150)
@given(where=st.sampled_from(placed()), key=st.from_regex(r"\Azz[a-z_]{1,8}\Z"))
def test_one_unknown_key_anywhere_is_refused_on_its_own_line(
    where: tuple[str, tuple[str | int, ...]], key: str
) -> None:
    text, path = where
    data = plain(parse(text, "x")[0])  # type: ignore[arg-type]
    here = data
    for part in path:
        here = here[part]
    here[key] = 1
    dumped = yaml.safe_dump(data, sort_keys=False)
    line = next(
        number for number, shown in enumerate(dumped.splitlines(), 1) if shown.strip(" -").startswith(f"{key}:")
    )
    with pytest.raises(TradewindError) as caught:
        load_text(dumped)
    assert [(one.code, one.line, one.got) for one in caught.value.problems] == [("TW110", line, key)]


@settings(max_examples=300)
@given(text=st.text(max_size=60))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    for whole in (text, ALL_BLOCKS + text, f"version: 1\npipeline: {text}"):
        assert all(problem.code.startswith("TW1") and problem.file for problem in refusals(whole))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300)
@given(block=st.sampled_from(sorted(Pipeline.model_fields)), value=_VALUES)
def test_no_value_of_a_block_does_worse_than_being_refused(block: str, value: Any) -> None:
    data = plain(parse(ALL_BLOCKS, "x")[0]) | {block: value}  # type: ignore[arg-type]
    assert all(problem.line for problem in refusals(yaml.safe_dump(data)))

"""Generated pages are up to date, and the schema agrees with the models."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tradewind.spec import Pipeline
from tradewind.spec.json_schema import schema
from tradewind.spec.nodes import parse, plain
from tradewind.spec.reference import pages

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference"
EXAMPLES = sorted((ROOT / "dags" / "pipelines").glob("*.yaml"))
WRONG_BY_FORM = [
    "unknown_keys",
    "wrong_types",
    "wrong_values",
    "missing",
    "space",
    "expectations",
    "data_checks",
    "everything_at_once",
]


@pytest.mark.parametrize("name", sorted(pages()))
def test_pages_are_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text() == pages()[name], "run python -m tradewind.spec.reference docs/reference"


def test_every_key_says_what_it_is() -> None:
    models = Pipeline.model_json_schema(by_alias=True)
    bare = [
        f"{name}.{key}"
        for name, model in {**models["$defs"], "Pipeline": models}.items()
        for key, form in model.get("properties", {}).items()
        if not form.get("description")
    ]
    assert bare == []


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_editors_find_the_examples_right(path: Path) -> None:
    node, _ = parse(path.read_text(), path.name)
    assert node is not None
    assert [error.message for error in Draft202012Validator(schema()).iter_errors(plain(node))] == []
    first = path.read_text().splitlines()[0]
    assert (path.parent / first.partition("$schema=")[2]).resolve() == REFERENCE / "pipeline.schema.json"


@pytest.mark.parametrize("name", WRONG_BY_FORM)
def test_editors_find_wrong_forms_wrong(name: str) -> None:
    node, _ = parse((Path(__file__).parent / "wrong" / f"{name}.yaml").read_text(), name)
    assert node is not None
    assert not Draft202012Validator(schema()).is_valid(plain(node))


def test_short_forms_are_in_the_schema() -> None:
    valid = Draft202012Validator(json.loads((REFERENCE / "pipeline.schema.json").read_text()))
    data = {"version": 1, "pipeline": "a", "sources": {"rows": {"sample": {"name": "iris"}}}}
    for more in (
        {"schedule": "@daily"},
        {"params": {"x": 3, "y": "a"}},
        {"monitor": {"drift": {"for": "2 of 5"}}},
        {"checks": {"rows": [{"freshness": {"max_age": "26h", "severity": "warn"}}, {"volume": {"min": 1}}]}},
        {"defaults": {"timeout": "1h30m"}},
        {"defaults": {"timeout": 90}},
        {"defaults": {"timeout": None}},
    ):
        assert valid.is_valid(data | more), more
    for more in ({"defaults": {"timeout": "soon"}}, {"params": {"1x": 3}}, {"monitor": {"drift": {"for": "often"}}}):
        assert not valid.is_valid(data | more), more

"""Blocks of the YAML that are not the contract's: params, schedule, defaults."""

from typing import Any

import pytest

from tradewind.errors import TradewindError
from tradewind.spec import Pipeline, load_text

SMALL = "version: 1\npipeline: a\nsources: {rows: {sample: {name: breast_cancer}}}\n"


def with_(text: str) -> Pipeline:
    return load_text(SMALL + text)


def test_what_a_small_pipeline_gets() -> None:
    pipeline = with_("")
    assert pipeline.schedule is None
    assert pipeline.split.random is not None
    assert pipeline.evaluate.min_rows > 0
    assert pipeline.alerts.slack is None
    assert (pipeline.defaults.retries, pipeline.defaults.retry_delay.total_seconds()) == (2, 30)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("200", {"type": "integer", "default": 200}),
        ("0.5", {"type": "number", "default": 0.5}),
        ("true", {"type": "boolean", "default": True}),
        ("north", {"type": "string", "default": "north"}),
        ("[a, b]", {"type": "array", "default": ["a", "b"]}),
        ("{type: date, default: 2013-01-31}", {"type": "string", "format": "date", "default": "2013-01-31"}),
        ("{type: datetime, optional: true}", {"type": ["string", "null"], "format": "date-time", "default": None}),
        ("{type: integer, min: 1, max: 9}", {"type": "integer", "minimum": 1, "maximum": 9}),
        ("{enum: [a, b], default: a, title: T}", {"type": "string", "default": "a", "enum": ["a", "b"], "title": "T"}),
        ("{min: 2, pattern: '^x'}", {"type": "string", "minLength": 2, "pattern": "^x"}),
    ],
)
def test_params_are_the_trigger_forms_fields(text: str, schema: dict[str, Any]) -> None:
    assert with_(f"params: {{p: {text}}}").params["p"].json_schema() == schema


def test_a_form_takes_what_params_allow() -> None:
    from jsonschema import Draft202012Validator

    form = with_("params: {p: {type: integer, min: 1, optional: true, enum: [1, 2]}}").params["p"].json_schema()
    valid = Draft202012Validator(form)
    assert [value for value in (None, 0, 1, 2, 3, "1") if valid.is_valid(value)] == [None, 1, 2]


@pytest.mark.parametrize("cron", ["@daily", "@quarterly", "0 6 * * 1-5", "*/5 * * * *"])
def test_crons(cron: str) -> None:
    schedule = with_(f"schedule: '{cron}'").schedule
    assert schedule is not None
    assert schedule.cron == cron


@pytest.mark.parametrize("cron", ["@once", "@continuous", "daily", "* * * * * *", "60 * * * *", "0 6 * *"])
def test_no_crons(cron: str) -> None:
    with pytest.raises(TradewindError) as caught:
        with_(f"schedule: '{cron}'")
    assert [problem.code for problem in caught.value.problems] == ["TW146"]


def test_what_is_different_for_a_step() -> None:
    defaults = with_(
        "defaults: {retries: 1, timeout: 1h, steps: {train: {timeout: null, environment: torch}}}"
    ).defaults
    assert defaults.of("check") == defaults
    assert (defaults.of("train").retries, defaults.of("train").timeout) == (1, None)
    assert defaults.of("train").environment == "torch"


def test_a_param_that_drift_would_have_to_give() -> None:
    text = (
        "params: {x: {type: string}}\ntrain: {estimator: sklearn.LogisticRegression, label: target}\n"
        "promote: {model: a}\ndeploy: {}\nmonitor: {then: retrain}\n"
    )
    with pytest.raises(TradewindError) as caught:
        with_(text)
    assert [problem.code for problem in caught.value.problems] == ["TW132"]
    assert with_(text.replace("retrain", "alert"))


def test_monitoring_needs_what_is_captured() -> None:
    text = (
        "train: {estimator: sklearn.LogisticRegression, label: target}\npromote: {model: a}\n"
        "deploy: {capture: false}\nmonitor: {}\n"
    )
    with pytest.raises(TradewindError) as caught:
        with_(text)
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [("TW122", "deploy.capture")]


@pytest.mark.parametrize(
    "text", ["password: x", "db_password: x", "api-key: x", "aws_secret_access_key: x", "TOKEN: x"]
)
def test_secrets_by_their_name(text: str) -> None:
    with pytest.raises(TradewindError) as caught:
        with_(f"train: {{estimator: sklearn.LogisticRegression, label: target, params: {{{text}}}}}")
    assert [problem.code for problem in caught.value.problems] == ["TW150"]


def test_no_secrets() -> None:
    sources = (
        "sources: {rows: {objects: {uri: 'https://example.com/a:b@c.csv'}, columns: {token: string, password: string}}}"
    )
    assert load_text("version: 1\npipeline: a\n" + sources + "\nparams: {token: {type: string}, max_tokens: 3}\n")

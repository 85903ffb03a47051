"""What the chart refuses, and the page that tells what it takes."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
import yaml
from tests.helm.chart import CHART, ROOT, USERS, checked, merged, rendered, values

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
#: Kubernetes' and other charts' own, which they check.
FREE = {"global", "airflow", "profile", "teams.[].profile"}
TEAM = {"name": "a", "namespace": "ml-a", "pipelines": []}


@pytest.mark.parametrize("user", USERS)
def test_the_examples_are_right(user):
    checked(values(user))


@pytest.mark.parametrize(
    "wrong",
    [
        {"servng": {}},
        {"serving": {"replica": 2}},
        {"mlflow": {"postgresql": {"enable": True}}},
        {"monitoring": {"alerts": {"error": 0.1}}},
        {"teams": [TEAM | {"qouta": {}}]},
        {"teams": [{"name": "a"}]},
        {"lake": {"uri": "s3://key:secret@host/bucket"}},
        {"connections": {"kafka_default": "not a place"}},
        {"serving": {"replicas": 0}},
        {"images": {"steps": {"repository": "r", "tag": "latest"}, "serving": {"repository": "r"}}},
        {"ingress": {"serving": {"enabled": True, "host": "models.example.com"}}},  # no TLS
        {"networkPolicy": {"egress": [{}]}},  # to everywhere
        {"networkPolicy": {"callers": [{}]}},
        {"externalSecrets": {"vault": {"server": "https://me:secret@vault"}}},
    ],
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(helm_python.HelmError, match="tradewind:"):
        checked(merged(values("small"), wrong))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"lake": {"uri": "s3://b", "connection": "other"}}, "names no Secret"),
        ({"mlflow": {"database": "a/b", "postgresql": {"enabled": True}}}, "either `database`"),
        ({"teams": [TEAM, TEAM | {"name": "b"}]}, '"ml-a" is taken by team "a"'),
        ({"teams": [TEAM | {"namespace": "tradewind"}]}, "taken by the release itself"),
        ({"teams": [TEAM | {"name": "cluster"}]}, "taken by the release itself"),
        ({"externalSecrets": {"enabled": True}}, "name a `store`"),
        ({"ingress": {"mlflow": {"enabled": True, "host": "h", "tlsSecret": "t"}}}, "nobody asks who calls"),
        ({"ingress": {"serving": {"enabled": True, "host": "h", "tlsSecret": "t"}}}, "serving.token is empty"),
        (
            {
                "mlflow": {"enabled": False},
                "ingress": {"mlflow": {"enabled": True, "host": "h", "tlsSecret": "t", "annotations": {"a": "auth"}}},
            },
            "mlflow.enabled is false",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(wrong, why):
    with pytest.raises(helm_python.HelmError, match=why):
        rendered("small", wrong)


def objects(shape: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the schema, by path."""
    if not isinstance(shape, dict):
        return
    if "properties" in shape and "type" in shape:
        yield path, shape
    for key, below in shape.get("properties", {}).items():
        yield from objects(below, f"{path}.{key}".lstrip("."))
    if "items" in shape:
        yield from objects(shape["items"], f"{path}.[]")


def test_the_schema_is_strict():
    found = [*objects(SCHEMA), *(one for name, shape in SCHEMA["definitions"].items() for one in objects(shape, name))]
    assert len(found) > 20
    assert [path for path, shape in found if shape.get("additionalProperties") is not False] == []


def test_the_schema_knows_every_value():
    """And every value has a default, so that values.yaml shows all there is."""
    given = yaml.safe_load((CHART / "values.yaml").read_text())

    def keys(value: Any, path: str = "") -> set[str]:
        if not isinstance(value, dict) or path in FREE or not value:
            return {path}
        return {key for name, below in value.items() for key in keys(below, f"{path}.{name}".lstrip("."))}

    def known(shape: dict[str, Any], path: str = "") -> set[str]:
        if "$ref" in shape:
            shape = SCHEMA["definitions"][shape["$ref"].rpartition("/")[2]]
        if "properties" not in shape or path in FREE or path == "limits":
            return {path}
        return {
            key for name, below in shape["properties"].items() for key in known(below, f"{path}.{name}".lstrip("."))
        }

    free = ("connections.", "monitoring.dashboards.labels.", ".resources.")
    ours = {key for key in keys(given) if not any(part in key for part in free)}
    theirs = {key for key in known(SCHEMA) if not any(part in f"{key}." for part in free)}
    assert ours == theirs - {"global"}


def test_the_page_is_what_is_made():
    made = runpy.run_path(str(ROOT / "helm" / "reference.py"))["page"]()
    assert (ROOT / "docs" / "reference" / "chart.md").read_text() == made, (
        "python helm/reference.py > docs/reference/chart.md"
    )

"""The JSON Schema of a pipeline, for editors: pydantic's, with the forms that a YAML may write short."""

from __future__ import annotations

import json
from typing import Any

from tradewind.spec.expectations import EXPECTATIONS
from tradewind.spec.pipeline import Pipeline
from tradewind_runtime.contract.checks import DATA_CHECKS
from tradewind_runtime.contract.sources import SOURCE_KINDS

_DURATION = {
    "anyOf": [
        {"type": "string", "pattern": r"^(\s*\d+(\.\d+)?(ms|s|m|h|d|w))+\s*$"},
        {"type": "number", "description": "Seconds."},
    ],
    "description": "Such as 30s, 10m, 1h30m or 60d.",
}
#: Of each of these exactly one key is given.
_ONE_OF = {
    "Source": SOURCE_KINDS,
    "Transform": ("spark", "sql", "python", "beam"),
    "Train": ("function", "estimator"),
    "Volume": ("claim", "config_map"),
    "Schedule": ("cron", "after"),
}


def schema() -> dict[str, Any]:
    """The schema, as draft 2020-12."""
    made = _tidy(Pipeline.model_json_schema(by_alias=True))
    definitions = made["$defs"]
    definitions["Expectation"] = _expectation(definitions["Expectation"])
    definitions["Drift"]["properties"]["for"] = _either(
        {"type": "string", "pattern": r"^\s*\d+\s+of\s+\d+\s*$"}, definitions["Drift"]["properties"]["for"]
    )
    for name, keys in _ONE_OF.items():
        definitions[name]["oneOf"] = [{"required": [key]} for key in keys]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tradewind pipeline"}
    return head | {key: value for key, value in made.items() if key != "title"}


def schema_text() -> str:
    """The schema as it is kept in docs/reference/."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any, name: str = "") -> Any:
    """Durations as they are written, closed mappings, and no titles that only repeat the key."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("anyOf", [])[:3] == [{"type": "string"}, {"type": "integer"}, {"type": "number"}]:
        nulls = [one for one in node["anyOf"][3:] if one == {"type": "null"}]
        rest = {key: value for key, value in node.items() if key not in ("anyOf", "title")}
        described = f"{rest['description']} {_DURATION['description']}" if "description" in rest else None
        return {**_DURATION, "anyOf": [*_DURATION["anyOf"], *nulls], **rest} | (
            {"description": described} if described else {}
        )
    made = {
        key: {one: _tidy(value, one) for one, value in item.items()} if key == "properties" else _tidy(item, key)
        for key, item in node.items()
        if not (key == "title" and isinstance(item, str) and name != "properties")
    }
    if "patternProperties" in made and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


def _either(short: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in full.items() if key != "$ref"}
    return {"anyOf": [short, {"$ref": full["$ref"]}], **rest}


def _expectation(full: dict[str, Any]) -> dict[str, Any]:
    """`{expect_…: {arguments}}`; the form {name, arguments, severity} is accepted and not shown."""
    return {
        "type": "object",
        "description": full["description"],
        "properties": {name: _tidy(model.model_json_schema()) for name, model in DATA_CHECKS.items()}
        | {name: _arguments(arguments, full["properties"]["severity"]) for name, arguments in EXPECTATIONS.items()},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _arguments(arguments: dict[str, bool], severity: dict[str, Any]) -> dict[str, Any]:
    required = [name for name, needed in arguments.items() if needed]
    free: dict[str, Any] = {name: {} for name in (*arguments, "description", "notes", "meta")}
    known = {
        "column": {"type": "string", "description": "The column that is looked at."},
        "mostly": {"type": "number", "minimum": 0, "maximum": 1, "description": "Share of the rows that must pass."},
    }
    properties = free | {name: form for name, form in known.items() if name in free} | {"severity": severity}
    made: dict[str, Any] = {
        "type": "object" if required else ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }
    return made | ({"required": required} if required else {})

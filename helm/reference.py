"""docs/reference/chart.md, from the chart's values, their comments and their schema.

python helm/reference.py > docs/reference/chart.md
"""  # noqa: INP001 - a script, beside what it reads

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "tradewind"

_HEAD = """# The chart's values

<!-- Made from values.yaml and values.schema.json by `python helm/reference.py`; do not edit. -->

What `helm/tradewind` takes, with defaults. A key that is not here is refused, as is a value of a wrong form. How to
install, upgrade and go back: [the chart](../guides/chart.md). Examples: `helm/tradewind/ci/`.
"""


def page() -> str:
    """The page's text."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    text = (CHART / "values.yaml").read_text()
    values, told = yaml.safe_load(text), dict(comments(text))
    parts = [_HEAD]
    single = list(_table(schema, schema, values, told, nested=False))
    if single:
        parts.append("\n".join(["## At the top\n", *single, ""]))
    for name, one in schema["properties"].items():
        shape = _resolved(schema, one)
        if _is_block(shape):
            parts.append(
                "\n".join([f"## `{name}`\n", *_intro(told, (name,)), *_block(schema, shape, values, told, name)])
            )
        elif _is_block(shape.get("items", {})):
            rows = _block(schema, shape["items"], {}, told, f"{name}[]")
            parts.append("\n".join([f"## `{name}`\n", *_intro(told, (name,)), *rows]))
    parts.append("\n".join(["## `airflow`\n", *_airflow(values["airflow"], told)]))
    return "\n".join(parts).rstrip() + "\n"


def comments(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path of a key → the lines of comment right above it."""
    lines = text.splitlines()

    def walk(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            here, above = (*path, key.value), key.start_mark.line - 1
            found: list[str] = []
            while above >= 0 and lines[above].lstrip().startswith("#"):
                found.insert(0, lines[above].strip(" #"))
                above -= 1
            if found and not node.flow_style:
                yield here, " ".join(found)
            yield from walk(value, here)

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    yield from walk(root, ())


def _resolved(schema: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """A piece of the schema, with what it refers to; what stands beside the reference wins."""
    if "$ref" not in one:
        return one
    return schema["definitions"][one["$ref"].rpartition("/")[2]] | {key: v for key, v in one.items() if key != "$ref"}


def _is_block(shape: dict[str, Any]) -> bool:
    """Whether it is shown key by key: an object of ours that no definition has given a name."""
    return "properties" in shape and "title" not in shape


def _intro(told: dict[tuple[str, ...], str], path: tuple[str, ...]) -> Iterator[str]:
    if path in told:
        yield f"{told[path]}\n"


def _block(schema: dict[str, Any], shape: dict[str, Any], values: Any, told: Any, name: str) -> Iterator[str]:
    inner = values.get(name, {}) if isinstance(values, dict) else {}
    yield from _table(schema, shape, inner, told, nested=True, path=(name,))
    yield ""


def _table(
    schema: dict[str, Any], shape: dict[str, Any], values: Any, told: Any, *, nested: bool, path: tuple[str, ...] = ()
) -> Iterator[str]:
    rows = list(_rows(schema, shape, values, told, nested=nested, path=path))
    if rows:
        yield "| value | type | default | what it is |\n|---|---|---|---|"
        yield from rows


def _rows(
    schema: dict[str, Any], shape: dict[str, Any], values: Any, told: Any, *, nested: bool, path: tuple[str, ...]
) -> Iterator[str]:
    for name, one in shape["properties"].items():
        here, inner = (*path, name), _resolved(schema, one)
        if not path and (name == "airflow" or _is_block(inner) or _is_block(inner.get("items", {}))):
            continue  # a heading of its own
        default = values.get(name) if isinstance(values, dict) else None
        if nested and _is_block(inner):
            if here in told:
                yield f"| `{'.'.join(here)}` | | | {_cell(told[here])} |"
            yield from _rows(schema, inner, default or {}, told, nested=True, path=here)
            continue
        shown = f"`{json.dumps(default)}`" if default is not None else ""
        what = told.get(here) or one.get("description") or ""
        yield f"| `{'.'.join(here)}` | {_type(inner)} | {_cell(shown)} | {_cell(what)} |"


def _type(shape: dict[str, Any]) -> str:
    if "title" in shape:
        title: str = shape["title"]
        keys = shape.get("properties")
        return f"{title}: " + ", ".join(f"`{key}`" for key in keys) if keys and title != "requests, limits" else title
    if "enum" in shape:
        return ", ".join(f"`{one}`" for one in shape["enum"])
    kinds = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    kind = shape.get("type", "")
    if kind == "array":
        return "list"
    return kinds.get(kind, "mapping")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _airflow(values: dict[str, Any], told: dict[tuple[str, ...], str]) -> Iterator[str]:
    yield from _intro(told, ("airflow",))
    yield "Its values are its own; these are ours:\n\n```text"
    yield yaml.safe_dump(values, sort_keys=False, width=110).rstrip()
    yield "```"


if __name__ == "__main__":
    print(page(), end="")

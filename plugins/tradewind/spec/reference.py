"""The pages of docs/reference/ that are made from the models: `python -m tradewind.spec.reference docs/reference`."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tradewind.errors import CODES
from tradewind.profile import Profile
from tradewind.spec.expectations import EXPECTATIONS
from tradewind.spec.json_schema import schema_text
from tradewind.spec.pipeline import Pipeline
from tradewind.spec.shape import models_at
from tradewind_runtime.contract.base import duration_text
from tradewind_runtime.contract.checks import DATA_CHECKS
from tradewind_runtime.contract.resources import Resources

_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", date: "date", Any: "anything"}

_HEAD = """# The pipeline's YAML

<!-- Made from the models by `python -m tradewind.spec.reference docs/reference`; do not edit. -->

One file of `dags/pipelines/` is one pipeline. Only `version`, `pipeline` and `sources` must be given. Name the schema
in the first line, and editors complete and check as you type:

```yaml
# yaml-language-server: $schema=../../docs/reference/pipeline.schema.json
```

- Unknown keys, keys given twice, tags and secrets are refused; `tradewind validate` tells every problem at once
  ([codes](errors.md)).
- A duration is `30s`, `10m`, `1h30m`, `60d`, or a number of seconds. Plain `yes`, `no`, `on` and dates are texts, as in
  YAML 1.2; anchors and `<<` may be used.
- `{params.NAME}`, `{window.start}` and `{window.end}` may stand in texts of sources, checks, transform, tune, train,
  evaluate and score; `{window.date}`, in the `uri` of objects, stands for every date of the run's window,
  as 2013-01-31, or by a format of strftime's `%Y`, `%m`, `%d`, `%j`, `%-m` and `%-d`: `{window.date:%Y/%m/%d}`.
- **Shared defaults.** `defaults.yaml` in a folder, with the same blocks but `version` and `pipeline`, is merged under
  every YAML of that folder and below it. The YAML wins, and lists are replaced. A default never adds a step, a source
  or a check: it fills in blocks that the YAML has. Where one of several keys is chosen (`kafka` or `objects`,
  `function` or `estimator`), the YAML's choice drops the others' defaults.
"""


_PROFILE_HEAD = """# The profile

<!-- Made from the models by `python -m tradewind.spec.reference docs/reference`; do not edit. -->

One file of `profiles/` says where and how steps run, and what a pipeline's YAML may ask for there. Only `profile`, its
name, must be given. `TRADEWIND_PROFILE` names the one that is used, `local` if nothing does; `{project}` and `{home}`
stand for the project's folder and the local stack's. What it says of pods is explained
[in the guide](../guides/cluster.md#resources), what `settings.spark` knows [there too](../guides/cluster.md#spark), and
`tradewind validate dags/pipelines --profile NAME` holds pipelines against it.
"""


def pages() -> dict[str, str]:
    """File → text."""
    return {
        "pipeline.md": _models_page(_HEAD, "All blocks", Pipeline, set()) + f"\n{_data_checks()}\n{_expectations()}\n",
        "profile.md": _models_page(_PROFILE_HEAD, "All keys", Profile, {Resources}),
        "errors.md": _errors_page(),
        "pipeline.schema.json": schema_text(),
    }


def _models_page(head: str, title: str, top: type[BaseModel], elsewhere: set[type[BaseModel]]) -> str:
    done = {top, *elsewhere}
    parts = [head, *_table(top, title, 2)]
    for name, field in top.model_fields.items():
        below = f"{name}.NAME" if get_origin(field.annotation) is dict else name
        for model in models_at(top, (name,)) or _inside(field.annotation):
            parts += _section(model, f"`{name}`", 2, done, below)
    return "\n".join(parts).rstrip() + "\n"


def _section(
    model: type[BaseModel], title: str, level: int, done: set[type[BaseModel]], path: str = ""
) -> Iterator[str]:
    """A model's table, and below it those of the models in it; the path is that of its keys, if not its title."""
    done.add(model)
    yield from _table(model, title, level)
    for name, field in model.model_fields.items():
        for inner in _inside(field.annotation):
            if inner not in done:
                head = f"{path or title.strip('`')}.{field.alias or name}"
                shown = f"`{head}` as {inner.__name__}" if len(_inside(field.annotation)) > 1 else f"`{head}`"
                yield from _section(inner, shown, min(level + 1, 4), done)


def _table(model: type[BaseModel], title: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {title}\n"
    yield f"{' '.join((model.__doc__ or '').split())}\n"
    yield "| key | type | default | what it is |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield f"| `{key}` | {_type(field.annotation)} | {_default(field)} | {_cell(field.description or '')} |"
    yield ""


def _inside(annotation: Any) -> list[type[BaseModel]]:
    """The models of an annotation, at any depth of lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for one in get_args(annotation) for model in _inside(one)]


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if annotation is timedelta:
        return "duration"
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(one) for one in arguments if one is not type(None)))
    if origin is dict:
        return f"mapping of {_type(arguments[1])}"
    if origin is tuple:
        return f"list of {_type(arguments[0])}" if Ellipsis in arguments else "[low, high]"
    return "mapping" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "anything"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, timedelta):
        return f"`{duration_text(value)}`"
    if isinstance(value, BaseModel):
        given = value.model_dump(mode="json", exclude_unset=True, by_alias=True)
        return f"`{json.dumps(given)}`" if given else "its defaults"
    if isinstance(value, tuple):
        return f"`{json.dumps(list(value))}`"
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _data_checks() -> str:
    lines = ["## Freshness, volume, schema\n", "What `checks` may ask besides expectations, as "]
    lines[-1] += "`{freshness: {max_age: 26h, severity: warn}}`.\n"
    for name, model in DATA_CHECKS.items():
        lines += _table(model, f"`{name}`", 3)
    return "\n".join(lines)


def _expectations() -> str:
    lines = ["## Expectations\n", "What `checks` may ask for, by the name that Great Expectations gives it, as "]
    lines[-1] += "`{expect_…: {column: …, severity: warn}}`. Arguments in bold must be given.\n"
    for name, arguments in EXPECTATIONS.items():
        shown = ", ".join(f"**{one}**" if needed else one for one, needed in arguments.items())
        lines.append(f"- `{name}`: {shown}")
    return "\n".join(lines)


def _errors_page() -> str:
    lines = [
        "# Errors in a YAML\n",
        "<!-- Made by `python -m tradewind.spec.reference docs/reference`; do not edit. -->\n",
        "Every problem has a code, its file, line and column, the path in the YAML, what was got and expected, and",
        "where there is one the nearest valid name and a fix; `tradewind validate --format json` gives it as JSON.\n",
        "| code | what it means |",
        "|---|---|",
        *(f'| <a id="{code.lower()}"></a>{code} | {_cell(meaning)} |' for code, meaning in CODES.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the pages to a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

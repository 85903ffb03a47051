"""Pydantic's errors as problems: where in the text, in plain English, with the nearest valid name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from tradewind.errors import Problem, nearest
from tradewind.spec.nodes import Mapping, Path, Scalar
from tradewind.spec.places import Place, find, shown
from tradewind.spec.schedule import ASSET
from tradewind.spec.shape import keys_at, models_at
from tradewind_runtime.contract.checks import CHECK, DATA_CHECKS
from tradewind_runtime.contract.http import PARAMETER, PATH, PLACE, RATE
from tradewind_runtime.contract.resources import HELD, IMAGE, LABEL_KEY, LABEL_VALUE, MIG, OBJECT, SIZE
from tradewind_runtime.contract.sources import SCHEMA_FILE, TABLE

_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "time_delta_type": "a duration such as 30s, 10m or 60d",
    "time_delta_parsing": "a duration such as 30s, 10m or 60d",
    "date_type": "a date such as 2013-01-31",
    "date_parsing": "a date such as 2013-01-31",
    "date_from_datetime_parsing": "a date such as 2013-01-31",
}
_FIXES = {
    "a text": "put it between quotes",
    "a list": "write it as [a, b], or one '- item' a line",
    "true or false": "write true or false, without quotes",
    "a mapping": "write it as {key: value}, or indented keys",
}
_PATTERNS = {
    r"^[A-Za-z_][A-Za-z0-9_]*$": "letters, digits and _, not beginning with a digit",
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$": "small letters, digits and hyphens, such as flight-delays",
    r"^[A-Za-z0-9_.-]+$": "an Airflow connection's id: letters, digits, _, . and -",
    r"^[A-Za-z0-9._-]+$": "letters, digits, ., _ and -",
    r"^[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$": "MODULE:FUNCTION of include/models, such as flight_delays:train",
    r"^spark_jobs/[A-Za-z0-9_/]+\.py$": "a file of spark_jobs/, such as spark_jobs/flight_features.py",
    r"^[\t -!#-~]$": "one character that is no quote, such as ; or a tab",
    TABLE: "a table, with or without its schema, such as public.orders",
    PATH: "a path that begins with /, such as /v1/orders; what follows a ? goes into params",
    PARAMETER: "a query parameter's name, such as updated_after",
    PLACE: "keys with dots between them, such as data.items",
    RATE: "requests in a second, minute or hour, such as 5/s or 100/m",
    SCHEMA_FILE: "a file of include/schemas, such as flights.avsc or flights.proto",
    r"^[A-Za-z_][A-Za-z0-9_.]*$": "a message of the schema, with or without its package",
    CHECK: "freshness, volume, schema, or an expectation, such as expect_column_values_to_not_be_null",
    SIZE: "an amount such as 512Mi or 4Gi",
    MIG: "a part of a GPU as NVIDIA names it, such as 1g.10gb",
    OBJECT: "the name of an object in Kubernetes: small letters, digits, - and .",
    LABEL_KEY: "a label's key, such as example.com/pool",
    LABEL_VALUE: "a label's value: letters, digits, -, _ and .",
    HELD: "SECRET/KEY: the Secret that holds it, and under which key",
    IMAGE: "an image such as registry.example.com/ml/train:1.2 or …@sha256:…",
    ASSET: "tradewind://table/PIPELINE/TABLE or tradewind://model/MODEL",
    r"^[#@]?[A-Za-z0-9._-]+$": 'a channel such as "#ml-flights"',
}


def problems_of(error: ValidationError, root: Mapping, model: type[BaseModel]) -> list[Problem]:
    """All problems of one validation, in the order of the text."""
    details: list[Any] = error.errors(include_url=False)
    found = [problem for one in _one_form(details, root, model) for problem in _translate(one, root, model)]
    unknown = {(_parent(problem.path), problem.suggestion) for problem in found if problem.code == "TW110"}
    return [
        problem
        for problem in found  # a key that was misspelt is not missing too
        if problem.code != "TW111" or (_parent(problem.path), (problem.path or "").rpartition(".")[2]) not in unknown
    ]


def _parent(path: str | None) -> str:
    return (path or "").rpartition(".")[0]


def _one_form(details: list[Any], root: Mapping, model: type[BaseModel]) -> Iterator[Any]:
    """Of a union's errors those of the form that was probably meant: a value has one form, not four wrong ones."""
    groups: dict[Path, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for detail in details:
        split = _union(detail["loc"], model)
        if split is None:
            yield detail
        else:
            groups[detail["loc"][:split]][str(detail["loc"][split])].append(detail)
    for loc, forms in groups.items():
        node = find(root, loc).node
        given = set(node.items) if isinstance(node, Mapping) else set()
        meant = [form for form in forms if given & set(keys_at(model, (*loc, form)))]
        if len(meant) == 1:
            yield from forms[meant[0]]
        else:
            yield {"type": "union", "loc": loc, "input": None, "ctx": {"keys": keys_at(model, loc)}, "msg": ""}


def _union(loc: Path, model: type[BaseModel]) -> int | None:
    """The index in a path at which a union's form is named, if any."""
    for index in range(len(loc)):
        forms = models_at(model, loc[:index])
        if len(forms) > 1 and loc[index] in {form.__name__ for form in forms}:
            return index
    return None


def _translate(detail: Any, root: Mapping, model: type[BaseModel]) -> Iterator[Problem]:
    kind, loc, context = detail["type"], detail["loc"], detail.get("ctx", {})
    place = find(root, loc)
    if kind == "union":
        yield from _union_problems(place.node, loc, root, context["keys"])
    elif kind == "extra_forbidden":
        known = keys_at(model, loc[:-1])
        yield place.problem(
            "TW110",
            f"unknown key {loc[-1]!r}",
            at=place.key,
            got=loc[-1],
            expected=", ".join(known),
            suggestion=nearest(loc[-1], known),
        )
    elif kind == "missing":
        yield _missing(loc, root, model)
    elif loc and loc[-1] == "[key]":
        names = context.get("expected", "").replace("'", "").replace(" or ", ", ")
        key = str(loc[-2])
        place = find(root, loc[:-1])
        yield place.problem(
            "TW113",
            f"{key!r} is no name that may stand here",
            at=place.key,
            got=key,
            expected=_PATTERNS.get(context.get("pattern", ""), names or str(context.get("error", detail["msg"]))),
            suggestion=nearest(key, names.split(", ")),
        )
    elif kind in _TYPES:
        expected = _TYPES[kind]
        given = shown(place.node)
        fix = (
            "use {params.NAME} only where any value may stand, such as train.params and job arguments"
            if (isinstance(given, str) and "{params." in given)
            else _FIXES.get(expected)
            if expected != "a text" or isinstance(place.node, Scalar)
            else None
        )
        yield place.problem(
            "TW112", f"{_what(given)} where {expected} is expected", got=given, expected=expected, fix=fix
        )
    else:
        yield _wrong_value(detail, place)


def _what(value: Any) -> str:
    if isinstance(value, str) and value.startswith(("a mapping of", "a list of")):
        return value
    names = {bool: "true or false", int: "the number", float: "the number", str: "the text", type(None): "nothing"}
    name = names.get(type(value), "the value")
    return name if value is None else f"{name} {value!r}" if not isinstance(value, bool) else str(value).lower()


def _union_problems(node: Any, loc: Path, root: Mapping, keys: list[str]) -> Iterator[Problem]:
    place = find(root, loc)
    expected = f"one of {', '.join(keys)}"
    unknown = [key for key in node.items if key not in keys] if isinstance(node, Mapping) else []
    for key in unknown:
        below = find(root, (*loc, key))
        yield below.problem(
            "TW110", f"unknown key {key!r}", at=below.key, got=key, expected=expected, suggestion=nearest(key, keys)
        )
    if not unknown:
        given = shown(node)
        yield place.problem("TW112", f"{_what(given)} where {expected} is expected", got=given, expected=expected)


def _missing(loc: Path, root: Mapping, model: type[BaseModel]) -> Problem:
    place = find(root, loc[:-1])
    models = models_at(model, loc[:-1])
    field = next(
        (found for one in models for name, found in one.model_fields.items() if loc[-1] in (name, found.alias)), None
    )
    path = f"{place.text}.{loc[-1]}" if place.text else str(loc[-1])
    return place.problem(
        "TW111",
        f"{loc[-1]!r} is missing",
        at=place.key,
        path=path,
        expected=field.description if field else None,
        fix=f"add {loc[-1]}: …",
        suggestion=None,
    )


def _wrong_value(detail: Any, place: Place) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    given = shown(place.node)
    message, expected, suggestion = detail["msg"], None, None
    if kind == "literal_error":
        expected = context["expected"].replace("'", "").replace(" or ", ", ")
        suggestion = nearest(given, expected.split(", "))
        message = f"{given!r} is not {'one of ' if ',' in expected else ''}{expected}"
    elif kind == "string_pattern_mismatch":
        expected = _PATTERNS.get(context["pattern"], context["pattern"])
        if context["pattern"] == ASSET and re.fullmatch(r"[a-z0-9-]+/\w+", str(given)):
            suggestion = f"tradewind://table/{given}"
        if isinstance(place.node, Mapping):  # an expectation's name is a key in the text
            given = place.path[-1]
            suggestion = nearest(given, DATA_CHECKS)
        message = f"{given!r} does not have the right form"
    elif kind in ("value_error", "assertion_error"):
        message = str(context["error"])
    else:
        message = (
            message.removeprefix("Input ").replace("should", f"{given!r} should", 1) if "should" in message else message
        )
    at = place.key if isinstance(place.node, Mapping) else None
    got = None if given == shown(place.node) and at else given
    return place.problem("TW113", message, at=at, got=got, expected=expected, suggestion=suggestion)

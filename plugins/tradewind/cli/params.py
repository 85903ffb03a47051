"""A run's params as they are typed, `NAME=VALUE`, held against what the YAML declares, as Airflow's form does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tradewind.errors import Problem, TradewindError, nearest
from tradewind.spec import Param
from tradewind.spec.nodes import parse, plain


def params_of(declared: Mapping[str, Param], typed: Iterable[str]) -> dict[str, Any]:
    """The value of each declared param: the one that is typed, else its default.

    Raises:
        TradewindError: TW223 where there is no `=`, TW224 for a name that is not declared, TW226 for a value that does
            not fit, TW227 where one is required and not given.
    """
    texts = dict(_pair(text) for text in typed)
    given = {name: _value(param, texts[name]) for name, param in declared.items() if name in texts}
    if problems := (*_unknown(declared, texts), *_unfit(declared, given), *_missing(declared, texts)):
        raise TradewindError(*problems)
    return {name: param.default for name, param in declared.items()} | given


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise TradewindError(Problem(code="TW223", message=f"{text!r} is not NAME=VALUE", got=text))
    return name, value


def _value(param: Param, text: str) -> Any:
    """The value that the same text has in a YAML; but what is typed for a text is one, also `123` and `a: b`."""
    indented = text.replace("\n", "\n ")
    node, problems = parse(f"value:\n {indented}", "")
    value = text if node is None or problems else plain(node).get("value")
    return text if param.type == "string" and not isinstance(value, str | None) else value


def _unknown(declared: Mapping[str, Param], given: Iterable[str]) -> Iterator[Problem]:
    for name in given:
        if name not in declared:
            yield Problem(
                code="TW224",
                message=f"the pipeline has no param {name!r}",
                got=name,
                expected=", ".join(declared) or "none",
                suggestion=nearest(name, declared),
            )


def _unfit(declared: Mapping[str, Param], given: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in given.items():
        param = declared[name]
        try:
            if value is not None or not param.optional:
                param.check(value)
        except ValueError:
            yield Problem(
                code="TW226",
                message=f"the param {name!r} cannot be {value!r}",
                path=f"params.{name}",
                got=value,
                expected=param.expects,
                fix=f"-p {name}=VALUE with such a value",
            )


def _missing(declared: Mapping[str, Param], given: Iterable[str]) -> Iterator[Problem]:
    for name, param in declared.items():
        if param.required and name not in given:
            yield Problem(
                code="TW227",
                message=f"the param {name!r} must be given: it has no default",
                path=f"params.{name}",
                expected=param.expects,
                fix=f"-p {name}=VALUE",
            )

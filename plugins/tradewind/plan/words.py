"""`{params.x}` and `{window.start}` in a YAML's text: filled in when a request is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tradewind_runtime.contract.errors import Problem, TradewindError
from tradewind_runtime.contract.refs import Window

_WORD = re.compile(r"\{(params|window)\.([A-Za-z_][A-Za-z0-9_]*)\}")


def fill(value: Any, params: Mapping[str, Any], window: Window | None) -> Any:
    """A configuration with its words filled in. `{window.date}` stays, with or without a format: it stands for many.

    A text that is one word only becomes the value itself, with its type.

    Raises:
        TradewindError: TW210 for a word that stands for nothing.
    """
    if isinstance(value, dict):
        return {key: fill(item, params, window) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, params, window) for item in value]
    if not isinstance(value, str):
        return value
    whole = _WORD.fullmatch(value)
    if whole is not None:
        return _meaning(whole, params, window)
    return _WORD.sub(lambda match: str(_meaning(match, params, window)), value)


def _meaning(match: re.Match[str], params: Mapping[str, Any], window: Window | None) -> Any:
    kind, name = match.groups()
    if kind == "params" and name in params:
        return params[name]
    if kind == "window" and name == "date":
        return match[0]
    if kind == "window" and window is not None and name in ("start", "end"):
        return getattr(window, name).isoformat()
    raise TradewindError(
        Problem(
            code="TW210",
            message=f"{match[0]} stands for nothing in this run",
            got=sorted(params),
            expected="{params.NAME} of the params block, {window.start}, {window.end} or {window.date}",
        )
    )

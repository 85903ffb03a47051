"""Lines of the closing table: whom a fact was asked of, whether it is as promised, and what of it must last."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """One fact, and whether it is as promised; `kept` is what a second demo must find as it is."""

    what: str
    asked: str
    answer: str
    ok: bool
    kept: Mapping[str, Any] = field(default_factory=dict)


def collect(lines: Iterator[Line]) -> list[Line]:
    """All lines; one that cannot be asked for is a line that is not so."""
    found: list[Line] = []
    try:
        for line in lines:
            found.append(line)  # noqa: PERF402 - what came before an error is kept
    except Exception as error:
        found.append(Line("the rest", "", f"{type(error).__name__}: {error}", ok=False))
    return found


def as_json(lines: list[Line], **more: Any) -> str:
    """The same for a machine."""
    body = {"ok": all(line.ok for line in lines), **more, "lines": [asdict(line) for line in lines]}
    return json.dumps(body, indent=1)

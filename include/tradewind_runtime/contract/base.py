"""What every model of the contract has in common: frozen, closed, and JSON in one canonical form."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

#: A name that can be a table, a step, a metric and a file name.
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
#: A name that can be a DAG, a model and an endpoint.
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=80)]
#: The id of an Airflow connection; never a secret.
ConnectionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(value: Any) -> Any:
    """`"90s"`, `"10m"`, `"1h30m"`, `"60d"` or a number of seconds, as a timedelta.

    Raises:
        ValueError: where the text is not a duration.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", value)
    if not parts or "".join(n + u for n, u in parts) != value.replace(" ", ""):
        msg = f"{value!r} is not a duration such as 30s, 10m, 1h30m or 60d"
        raise ValueError(msg)
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def duration_text(value: timedelta) -> str:
    """A duration as a YAML has it, in one unit."""
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


#: A duration: `30s`, `10m`, `1h30m`, `60d`; seconds in JSON.
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=str | int | float),
    PlainSerializer(lambda value: value.total_seconds(), return_type=float, when_used="json"),
]


class Frozen(BaseModel):
    """A document of the contract: closed (no unknown keys) and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def canonical(value: Any) -> bytes:
    """JSON in one form only: sorted keys, no white space, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(*parts: Any) -> str:
    """SHA-256, in hexadecimal, of JSON values in their canonical form."""
    return hashlib.sha256(canonical(list(parts))).hexdigest()

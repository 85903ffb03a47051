"""`params:`: what a person may set for one run. Airflow's trigger form is made from it."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from tradewind_runtime.contract.base import Frozen

ParamType = Literal["string", "integer", "number", "boolean", "date", "datetime", "array", "object"]

_PYTHON: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "date": date,
    "datetime": datetime,
    "array": list[Any],
    "object": dict[str, Any],
}
_FORMATS = {"date": "date", "datetime": "date-time"}


class Param(Frozen):
    """One parameter. A plain value is its default, and says its type."""

    type: ParamType = Field("string", description="What the form asks for.")
    default: Any = Field(None, description="Its value where none is given; without one, a run must be given it.")
    optional: bool = Field(False, description="A run may leave it empty; it is then null.")
    enum: tuple[Any, ...] | None = Field(None, min_length=1, description="The only values: a drop-down.")
    min: float | None = Field(None, description="Smallest number, or length of a text or list.")
    max: float | None = Field(None, description="Largest number, or length of a text or list.")
    pattern: str | None = Field(None, description="Regular expression of a text.")
    title: str | None = Field(None, description="Label in the form; the name if not given.")
    description: str | None = Field(None, description="Help below the field; Markdown.")
    section: str | None = Field(None, description="Heading under which the form shows it.")

    @model_validator(mode="after")
    def _consistent(self) -> Param:
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = f"min {self.min:g} is above max {self.max:g}"
            raise ValueError(msg)
        if (self.min is not None or self.max is not None) and self._bounds is None:
            msg = f"min and max say nothing about a param of type {self.type}"
            raise ValueError(msg)
        if self.pattern is not None and self.type != "string":
            msg = "pattern is for params of type string"
            raise ValueError(msg)
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            msg = f"pattern is not a regular expression: {error}"
            raise ValueError(msg) from error
        for value in self.enum or ():
            self.check(value, "enum's")
        if self.default is not None:
            self.check(self.default, "the default")
        return self

    @property
    def required(self) -> bool:
        """Whether a run must be given it."""
        return self.default is None and not self.optional

    @property
    def expects(self) -> str:
        """What a value must be, for people."""
        if self.enum is not None:
            return f"one of {', '.join(map(str, self.enum))}"
        unit = {"string": " characters", "array": " items"}.get(self.type, "")
        limits = {"least": self.min, "most": self.max}
        parts = [f"at {word} {limit:g}{unit}" for word, limit in limits.items() if limit is not None]
        pattern = () if self.pattern is None else (f"of the pattern {self.pattern}",)
        return ", ".join((self.type, *parts, *pattern))

    @property
    def _bounds(self) -> tuple[str, str] | None:
        if self.type in ("integer", "number"):
            return ("minimum", "maximum")
        return {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}.get(self.type)

    def check(self, value: Any, what: str = "the value") -> None:
        """Hold a value against the declaration.

        Raises:
            ValueError: where it does not fit.
        """
        expected = _PYTHON[self.type]
        kind = str if self.type in _FORMATS else expected  # a number is no date, though one could be made of it
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
            TypeAdapter(expected).validate_python(value, strict=self.type not in _FORMATS)
        except ValidationError as error:
            msg = f"{what} {value!r} is not of type {self.type}"
            raise ValueError(msg) from error
        if self.enum is not None and value not in self.enum:
            msg = f"{what} {value!r} is not one of {list(self.enum)}"
            raise ValueError(msg)
        if self.pattern is not None and not re.search(self.pattern, value):
            msg = f"{what} {value!r} is not of the pattern {self.pattern}"
            raise ValueError(msg)
        size = value if self.type in ("integer", "number") else len(value) if self._bounds else 0
        if (self.min is not None and size < self.min) or (self.max is not None and size > self.max):
            msg = f"{what} {value!r} is not within min and max"
            raise ValueError(msg)

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of Airflow's trigger form, with `default` where there is one."""
        kind = "string" if self.type in _FORMATS else self.type
        schema: dict[str, Any] = {"type": [kind, "null"] if self.optional else kind}
        if self.type in _FORMATS:
            schema["format"] = _FORMATS[self.type]
        if self.default is not None or self.optional:
            schema["default"] = self.default
        if self.enum is not None:
            schema["enum"] = [*self.enum, *([None] if self.optional else [])]
        for name, limit in zip(self._bounds or (), (self.min, self.max), strict=False):
            if limit is not None:
                schema[name] = limit if self.type == "number" else int(limit)
        texts = {"title": self.title, "description": self.description, "section": self.section, "pattern": self.pattern}
        return schema | {name: text for name, text in texts.items() if text is not None}


def _from_value(value: Any) -> Any:
    """`max_rounds: 200` is `{type: integer, default: 200}`."""
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    kind = kinds.get(type(value))
    return {"type": kind, "default": value} if kind else value


#: As a YAML writes it: the mapping, or a plain value that is the default.
ParamBlock = Annotated[
    Param, BeforeValidator(_from_value, json_schema_input_type=Param | str | float | bool | list[Any])
]

"""`checks:`: Great Expectations suites, written in the YAML."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Frozen


class Expectation(Frozen):
    """One expectation, by its Great Expectations name, such as expect_column_values_to_not_be_null."""

    name: str = Field(pattern=r"^expect_[a-z0-9_]+$", description="Its Great Expectations name.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="What it is called with.")
    severity: Literal["stop", "warn"] = Field(
        "stop", description="stop: the run ends when it fails; warn: it is only told."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        """`{expect_x: {column: c, mostly: 0.9, severity: warn}}` is the form in a YAML."""
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            name, given = next(iter(value.items()))
            if given is not None and not isinstance(given, dict):
                msg = f"the arguments of {name} are a mapping, such as {{column: carrier}}"
                raise ValueError(msg)
            arguments = dict(given or {})
            severity = arguments.pop("severity", "stop")
            return {"name": name, "arguments": arguments, "severity": severity}
        return value

    @property
    def columns(self) -> list[str]:
        """The columns that it looks at."""
        named = [self.arguments[name] for name in ("column", "column_A", "column_B") if name in self.arguments]
        return [*named, *self.arguments.get("column_list", ())]


class CheckConfig(Frozen):
    """What the check step of one source does."""

    source: str
    expectations: tuple[Expectation, ...] = ()
    time: str | None = None

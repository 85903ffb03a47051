"""`checks:`: what is asked of the data of a source, by Great Expectations or by Tradewind itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Duration, Frozen, Name
from tradewind_runtime.contract.sources import Columns

Severity = Literal["stop", "warn"]
_SEVERITY = "stop: the run ends when it fails; warn: it is only told."
#: What may be asked, as it is called in a YAML.
CHECK = r"^(freshness|volume|schema|expect_[a-z0-9_]+)$"


class Freshness(Frozen):
    """The newest event time lies so near to the end of the run's window, or to now if that is sooner."""

    max_age: Duration = Field(description="How old the newest row may be.")
    column: Name | None = Field(None, description="The column that is looked at; the source's `time` by default.")
    severity: Severity = Field("stop", description=_SEVERITY)


class Volume(Frozen):
    """So many rows have come since the last run of which this was asked."""

    min: int | None = Field(None, ge=0, description="No fewer.")
    max: int | None = Field(None, ge=0, description="No more.")
    change: float | None = Field(
        None,
        gt=0,
        description="No farther from the median of the last runs, as a share of it; with three runs or more.",
    )
    runs: int = Field(7, ge=3, le=1000, description="How many of the last runs the median is of.")
    severity: Severity = Field("stop", description=_SEVERITY)

    @model_validator(mode="after")
    def _asks(self) -> Volume:
        if self.min is None and self.max is None and self.change is None:
            msg = "volume asks nothing: give min, max or change"
            raise ValueError(msg)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = f"min {self.min} is more than max {self.max}"
            raise ValueError(msg)
        return self


class TableSchema(Frozen):
    """The raw table has these columns, of these types."""

    columns: Columns = Field(description="Column → type.")
    extra: Literal["allow", "refuse"] = Field("allow", description="Whether it may have others.")
    severity: Severity = Field("stop", description=_SEVERITY)


DataCheck = Freshness | Volume | TableSchema
#: What Tradewind asks by itself, with no suite of Great Expectations.
DATA_CHECKS: Mapping[str, type[DataCheck]] = {"freshness": Freshness, "volume": Volume, "schema": TableSchema}
_EXAMPLES = {"freshness": "max_age: 26h", "volume": "min: 1", "schema": "columns: {id: string}"}


class Expectation(Frozen):
    """One expectation, by its Great Expectations name, such as expect_column_values_to_not_be_null; or a check of
    Tradewind's own: freshness, volume, schema.
    """

    name: str = Field(pattern=CHECK, description="Its Great Expectations name, or freshness, volume, schema.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="What it is called with.")
    severity: Severity = Field("stop", description=_SEVERITY)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        """`{expect_x: {column: c, mostly: 0.9, severity: warn}}` is the form in a YAML."""
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            name, given = next(iter(value.items()))
            if given is not None and not isinstance(given, dict):
                msg = f"the arguments of {name} are a mapping, such as {{{_EXAMPLES.get(name, 'column: carrier')}}}"
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

    @property
    def data_check(self) -> DataCheck | None:
        """What Tradewind asks by itself; None for an expectation.

        Raises:
            ValidationError: where its arguments are wrong.
        """
        model = DATA_CHECKS.get(self.name)
        return model.model_validate({**self.arguments, "severity": self.severity}) if model else None


class CheckConfig(Frozen):
    """What the check step of one source does."""

    source: str
    expectations: tuple[Expectation, ...] = ()
    time: str | None = None

    @property
    def suite(self) -> tuple[Expectation, ...]:
        """What is Great Expectations' to ask."""
        return tuple(one for one in self.expectations if one.name not in DATA_CHECKS)

    @property
    def data_checks(self) -> tuple[Expectation, ...]:
        """What needs no suite."""
        return tuple(one for one in self.expectations if one.name in DATA_CHECKS)

    def ids(self) -> Iterator[tuple[str, Expectation]]:
        """Each with a name that stays when its limits change: `volume`, `expect_x(carrier)`, `expect_x(carrier) 2`."""
        seen: Counter[str] = Counter()
        for one in self.expectations:
            id = f"{one.name}({', '.join(map(str, one.columns))})" if one.columns else one.name
            seen[id] += 1
            yield (id if seen[id] == 1 else f"{id} {seen[id]}"), one

"""`sources.NAME.http`: an HTTP API that gives its rows in pages."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tradewind_runtime.contract.base import ConnectionId, Duration, Frozen, Name

#: Where something is in an answer's JSON: keys, with dots between them.
PLACE = r"^[^.\s]+(\.[^.\s]+)*$"
PARAMETER = r"^[^\s=&#?]+$"
PATH = r"^/[^?#\s]*$"
RATE = r"^[1-9][0-9]*/[smh]$"
_SPANS = {"s": 1, "m": 60, "h": 3600}


def _text(value: Any) -> Any:
    """A number or a truth as a query has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Place = Annotated[str, Field(pattern=PLACE)]
Parameter = Annotated[str, Field(pattern=PARAMETER)]
Value = Annotated[str, BeforeValidator(_text, json_schema_input_type=bool | int | float | str)]


class HttpPage(Frozen):
    """How the next page is asked for."""

    by: Literal["link", "cursor", "number", "offset"] = Field(
        description="link: by the address that a page gives; cursor: by a word that it gives; "
        "number: by the page's number; offset: by the number of rows before it."
    )
    parameter: Parameter | None = Field(
        None, description="The query parameter that takes it; for number `page` and for offset `offset`, if not given."
    )
    next: Place | None = Field(
        None,
        description="Where an answer has it. link: the header Link, if not given. number, offset: what is false, empty "
        "or missing on the last page; if not given, the first page without a row ends it.",
    )
    first: int | None = Field(None, ge=0, description="number: of the first page; 1 if not given.")
    size: int | None = Field(None, ge=1, description="How many rows a page is asked to have.")
    size_parameter: Parameter | None = Field(None, description="The query parameter that takes the size.")
    most: int = Field(10_000, ge=1, le=1_000_000, description="How many pages a run reads at most, before it stops.")

    @model_validator(mode="after")
    def _consistent(self) -> HttpPage:
        if self.by == "cursor" and not (self.parameter and self.next):
            msg = "pages by cursor need parameter and next: what takes the word, and where an answer has it"
            raise ValueError(msg)
        if self.by == "link" and self.parameter:
            msg = "pages by link have their parameters in the address: leave out parameter"
            raise ValueError(msg)
        if self.by != "number" and self.first is not None:
            msg = "first is of pages by number: leave it out"
            raise ValueError(msg)
        if (self.size is None) != (self.size_parameter is None):
            msg = "size and size_parameter go together"
            raise ValueError(msg)
        return self

    @property
    def takes(self) -> str:
        """The parameter of the next page."""
        return self.parameter or {"number": "page"}.get(self.by, "offset")


class HttpSource(Frozen):
    """An HTTP API, asked by GET: whole each time, or what its cursor has gained."""

    connection: ConnectionId = Field("http_default", description="The API's connection: its address and its secrets.")
    path: str = Field(pattern=PATH, description="Below the connection's address, such as /v1/orders.")
    params: dict[Parameter, Value] = Field(default_factory=dict, description="Query parameters of each first page.")
    format: Literal["json", "jsonl", "csv"] = Field(
        "json", description="What an answer is: one JSON text; a JSON text for each row; CSV with a header."
    )
    rows: Place | None = Field(
        None, description="Where the list of rows is in an answer's JSON, such as data.items; if not given, it is all."
    )
    page: HttpPage | None = Field(None, description="How the next page is asked for; without it one answer has all.")
    cursor: Name | None = Field(
        None,
        description="A column that only grows, of whole numbers or times: a run takes what is beyond the last one's "
        "end. Without it each run takes all, in place of what was there.",
    )
    since: Parameter | None = Field(
        None, description="The query parameter that takes the last run's end; without it the API is asked for all rows."
    )
    since_as: Literal["iso", "date", "seconds", "milliseconds"] | None = Field(
        None, description="How it is written there, if it is a time: iso (2013-01-01T12:00:00Z) if not given."
    )
    overlap: Duration = Field(
        timedelta(0),
        description="How much before the last run's end is asked for again, for rows that come late; they take the "
        "place of those that are there. Of a cursor of numbers: so many.",
    )
    rate: str | None = Field(
        None, pattern=RATE, description="How many requests a run makes at most in a second, minute or hour: 5/s, 100/m."
    )
    nulls: tuple[str, ...] = Field(("", "NA"), description="CSV: texts that stand for a null.")

    @model_validator(mode="after")
    def _of_its_cursor(self) -> HttpSource:
        given = [name for name in ("since", "since_as", "overlap") if getattr(self, name)]
        if given and self.cursor is None:
            msg = f"{given[0]} is of a cursor: name it, or leave {given[0]} out"
            raise ValueError(msg)
        if self.since_as and not self.since:
            msg = "since_as says how since is written: name it, or leave since_as out"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _places_of_json(self) -> HttpSource:
        inside = self.page.next if self.page else None
        if self.format != "json" and (self.rows or inside):
            msg = f"an answer of {self.format} is rows alone: leave out {'rows' if self.rows else 'page.next'}"
            raise ValueError(msg)
        if self.format == "json" and inside and not self.rows:
            msg = "page.next is beside the rows in an answer: say by rows where the rows are"
            raise ValueError(msg)
        return self

    @property
    def pause(self) -> float:
        """Seconds from one request to the next, at least."""
        if self.rate is None:
            return 0.0
        found = re.fullmatch(r"(\d+)/([smh])", self.rate)
        assert found is not None, "the pattern has been checked"
        return _SPANS[found[2]] / int(found[1])

"""One shape for everything that can be wrong, in a YAML or in a step."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from tradewind_runtime.contract.base import Frozen


class Problem(Frozen):
    """One thing that is wrong, where it is, and what to do about it."""

    code: str = Field(description="Stable, such as TW101 (YAML) or TW501 (a step).")
    severity: Literal["error", "warning"] = "error"
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = Field(None, description="Where in the YAML, such as train.params.eta.")
    got: Any = None
    expected: str | None = None
    suggestion: str | None = Field(None, description="The nearest valid name.")
    fix: str | None = None
    docs: str | None = Field(None, description="Page of the documentation, below docs/.")
    links: dict[str, str] | None = Field(None, description="What to look at, as in a result: title to address.")

    @model_serializer(mode="wrap")
    def _without_no_links(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A YAML's problem has no links, and its JSON the keys that it always had."""
        body: dict[str, Any] = handler(self)
        if body.get("links") is None:
            body.pop("links", None)
        return body

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        head = " ".join(part for part in (where, self.code, f"[{self.path}]" if self.path else "") if part)
        lines = [f"{head}: {self.message}"]
        if self.got is not None:
            lines.append(f"  got: {self.got}")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.suggestion:
            lines.append(f"  did you mean: {self.suggestion}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class TradewindError(Exception):
    """An error that a person can act on: one or more problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class StepError(TradewindError):
    """A step failed for a reason that is known.

    `retryable` is False where doing the same again cannot help (a failing suite, a bad function).
    """

    def __init__(self, code: str, message: str, *, retryable: bool = True, **details: Any) -> None:
        super().__init__(Problem(code=code, message=message, **details))
        self.retryable = retryable

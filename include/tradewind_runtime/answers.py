"""What Great Expectations finds in parts of the rows, as one finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.findings import Finding, describe

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

SHOWN = 20
_COUNTS = ("element_count", "missing_count", "unexpected_count")


@dataclass(frozen=True, kw_only=True)
class Answer(Finding):
    """What one expectation found, with what the data docs need."""

    raw: ExpectationValidationResult


def raise_its_error(expectation: Expectation, result: ExpectationValidationResult) -> None:
    """An expectation that could not be computed is a wrong expectation, not a failing row."""
    info: Mapping[str, Any] = result.exception_info or {}
    errors = [info] if "raised_exception" in info else list(info.values())
    for error in errors:
        if error.get("raised_exception"):
            message = str(error.get("exception_message") or "it raised an exception").strip().splitlines()[-1]
            raise StepError(
                "TW541",
                f"{describe(expectation)} cannot be computed: {message}",
                retryable=False,
                fix="does the column have the type that it expects?",
            )


def added(expectation: Expectation, results: Sequence[ExpectationValidationResult]) -> ExpectationValidationResult:
    """Results about rows as one: counts, the rows that fail, and the first examples; no list of all values."""
    first, parts = results[0], [one.result for one in results]
    shown = [value for part in parts for value in part.get("partial_unexpected_list") or ()]
    elements, missing, unexpected = (sum(int(part.get(name) or 0) for part in parts) for name in _COUNTS)
    if len(results) > 1:
        first.success = holds(expectation, elements - missing, unexpected)
    first.result = {
        "element_count": elements,
        "missing_count": missing,
        "unexpected_count": unexpected,
        "unexpected_index_list": np.concatenate([_failing(part) for part in parts]),
        "partial_unexpected_list": shown[:SHOWN],
    }
    return first


def holds(expectation: Expectation, valid: int, unexpected: int) -> bool:
    """Whether as many values hold as `mostly` says."""
    return valid == 0 or (valid - unexpected) / valid >= float(expectation.arguments.get("mostly", 1.0))


def _failing(part: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    found = part.get("unexpected_index_list")
    return np.asarray([] if found is None else found, np.int64)


def answer(expectation: Expectation, results: Sequence[ExpectationValidationResult]) -> Answer:
    """Add up what an expectation found in each part."""
    first = results[0]
    if "element_count" not in first.result:  # it is about all rows at once
        first.result = _few(first.result)
        return Answer(expectation=expectation, success=bool(first.success), observed=_observed(first), raw=first)
    found = added(expectation, results).result
    elements, missing, unexpected = (found[name] for name in _COUNTS)
    valid = elements - missing
    share = 100 * unexpected / valid if valid else 0.0
    # What the data docs need, without the list of all rows.
    first.result = {
        "element_count": elements,
        "missing_count": missing,
        "unexpected_count": unexpected,
        "missing_percent": 100 * missing / elements if elements else 0.0,
        "unexpected_percent": share,
        "unexpected_percent_nonmissing": share,
        "unexpected_percent_total": 100 * unexpected / elements if elements else 0.0,
        "partial_unexpected_list": found["partial_unexpected_list"],
    }
    return Answer(
        expectation=expectation,
        success=bool(first.success),
        observed=f"{unexpected} of {valid} values fail ({share:.3g} %)",
        failing=np.unique(found["unexpected_index_list"]),
        rows=elements,
        failing_rows=unexpected,
        share=unexpected / valid if valid else 0.0,
        raw=first,
    )


def _few(found: Mapping[str, Any]) -> dict[str, Any]:
    """With the first values of what may be as long as the table, and how many more there are."""
    few = dict(found)
    if isinstance(few.get("observed_value"), list):
        few["observed_value"] = _first(few["observed_value"], len(few["observed_value"]))
    for what in ("unexpected", "missing"):
        if values := few.get(f"partial_{what}_list"):
            few[f"partial_{what}_list"] = _first(values, int(few.get(f"{what}_count") or 0))
    return few


def _first(values: Sequence[Any], count: int) -> list[Any]:
    more = max(count, len(values)) - SHOWN
    return [*values[:SHOWN], *([f"and {more:,} more"] if more > 0 else [])]


def _observed(found: ExpectationValidationResult) -> str:
    """What is told of all rows: a figure, or the values that should not be there and those that should."""
    if (value := found.result.get("observed_value")) is not None:
        return f"observed {_listed(value) if isinstance(value, list) else value}"
    lists = {what: found.result.get(f"partial_{what}_list") for what in ("unexpected", "missing")}
    told = [f"{what}: {_listed(values)}" for what, values in lists.items() if values]
    return "; ".join(told) or ("as expected" if found.success else "not as expected")


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))

"""What a check found, whoever asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tradewind_runtime.contract.checks import Expectation


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found in all rows."""

    expectation: Expectation
    success: bool
    observed: str
    #: Row numbers, where it can tell rows apart.
    failing: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    rows: int | None = None  # that it looked at; None for all that are new
    failing_rows: int | None = None  # None where it is not about rows
    share: float | None = None  # of the values that are there, how many fail

    @property
    def text(self) -> str:
        """Expected and observed, in a line."""
        return f"{describe(self.expectation)}: {self.observed}"

    @property
    def stops(self) -> bool:
        """Whether the run ends with it."""
        return not self.success and self.expectation.severity == "stop"

    def facts(self) -> dict[str, Any]:
        """For the step's result."""
        return {
            "expectation": self.expectation.name,
            "arguments": self.expectation.arguments,
            "severity": self.expectation.severity,
            "success": self.success,
            "observed": self.observed,
            "failing_rows": len(self.failing),
        }


def describe(expectation: Expectation) -> str:
    """`expect_x(column: c, mostly: 0.9)`."""
    arguments = ", ".join(f"{name}: {value}" for name, value in expectation.arguments.items())
    return f"{expectation.name}({arguments})"

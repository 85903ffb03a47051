"""Where parameters to try come from: one module a system, each with `tuner(spec) -> Tuner`.

A tuner is asked and told; it starts no trial and knows nothing of time. What it proposes depends only on its seed
and on what it was told, so a sweep can be gone on with, and be done again.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from tradewind_runtime.contract.train import Tune


class Tuner(Protocol):
    """Proposes parameters."""

    def ask(self, index: int) -> dict[str, Any]:
        """Parameters of the trial of that number."""

    def tell(self, index: int, params: Mapping[str, Any], score: float | None) -> None:
        """How a trial went; None where it failed."""


def tuner(tune: Tune) -> Tuner:
    """The tuner that the YAML names."""
    name = next(name for name in Tune.model_fields if getattr(tune, name) is not None)
    module = importlib.import_module(f"tradewind_runtime.tuners.{name}")
    return cast("Tuner", module.tuner(getattr(tune, name)))

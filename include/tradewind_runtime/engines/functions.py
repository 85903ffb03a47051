"""A user's function of `include/models`, by MODULE:FUNCTION."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.engines import Job, guarded


def find(name: str, job: Job, path: str) -> Callable[..., Any]:
    """The function, imported now.

    Args:
        name: MODULE:FUNCTION.
        job: whose user code has it.
        path: of what names it in the YAML.

    Raises:
        StepError: TW545 where its module cannot be imported, or has no such function.
    """
    module, _, attribute = name.partition(":")
    with guarded(f"transform function {name}", job.step.code):
        found = getattr(importlib.import_module(module), attribute, None)
    if not callable(found):
        raise StepError(
            "TW545",
            f"include/models/{module.replace('.', '/')}.py has no function {attribute!r}",
            retryable=False,
            path=path,
        )
    return found  # type: ignore[no-any-return]

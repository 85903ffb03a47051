"""Arrow by itself, in a process that has no data frames."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa

NAME = "pandas"


class _Apart:
    """A finder of modules by which there is no pandas."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == NAME:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def leave_out() -> None:
    """Have pyarrow take pandas for absent, for the life of this process; whoever imports pandas still gets it.

    At the first array that it makes pyarrow imports pandas, to tell whether it was given a series: 0.4 s and 47 MiB of
    each step. What makes a data frame, such as `to_pandas`, imports it then. But `pa.array` takes a series for a list,
    where NaN is no null: so this is for processes in which nobody's code runs.
    """
    if NAME in sys.modules:
        return
    finder = _Apart()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(finder)

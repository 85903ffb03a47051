"""Whatever the data plane imports is there where it runs. Of use in `make test-steps`, which has no Airflow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import tradewind_runtime

ROOT = Path(tradewind_runtime.__file__).parent
#: What has an environment of its own.
OTHERS = (
    "serving", "engines/beam", "distributed/ray.py", "distributed/tensorflow.py", "distributed/torch.py",
    "frameworks/keras.py", "frameworks/pytorch.py", "launchers/ray_companions.py",
)  # fmt: skip
MODULES = [
    path for path in sorted(ROOT.rglob("*.py")) if not any(path.is_relative_to(ROOT / other) for other in OTHERS)
]


def imported(node: ast.AST) -> Iterator[str]:
    """Packages that are imported there, in functions too, but for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (name.name.partition(".")[0] for name in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module.partition(".")[0]
        yield from imported(child)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_imported_is_installed(path: Path) -> None:
    missing = {name for name in imported(ast.parse(path.read_text())) if find_spec(name) is None}
    assert not missing

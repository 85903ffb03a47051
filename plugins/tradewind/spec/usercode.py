"""User code as files: is the function there? Read as a syntax tree; nothing of a user's is imported here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tradewind.errors import Problem, nearest
from tradewind.spec.places import Place

MODELS = "include/models"
JOBS = "spark_jobs"
SCHEMAS = "include/schemas"


def function_problem(root: Path, reference: str, place: Place) -> Iterator[Problem]:
    """What is wrong with MODULE:FUNCTION of include/models."""
    module, _, function = reference.partition(":")
    below = root / MODELS / Path(*module.split("."))
    file = next((one for one in (below.with_name(f"{below.name}.py"), below / "__init__.py") if one.is_file()), None)
    if file is None:
        known = [".".join(one.relative_to(root / MODELS).with_suffix("").parts) for one in _files(root / MODELS)]
        name = nearest(module, known)
        yield place.problem(
            "TW140",
            f"there is no {MODELS}/{module.replace('.', '/')}.py",
            got=reference,
            expected=", ".join(known[:10]) or f"a file in {MODELS}/",
            suggestion=f"{name}:{function}" if name else None,
        )
        return
    yield from _defines(file, root, function, place, prefix=f"{module}:")


def job_problem(root: Path, job: str, place: Place) -> Iterator[Problem]:
    """What is wrong with a Spark application."""
    file = root / job
    if not file.is_file():
        known = [f"{JOBS}/{one.relative_to(root / JOBS).as_posix()}" for one in _files(root / JOBS)]
        yield _absent(job, job, known, JOBS, place)
        return
    yield from _defines(file, root, "transform", place)


def schema_problem(root: Path, file: str, place: Place) -> Iterator[Problem]:
    """What is wrong with a file of include/schemas; its content is judged by the step."""
    if not (root / SCHEMAS / file).is_file():
        folder = root / SCHEMAS
        known = [one.relative_to(folder).as_posix() for kind in ("avsc", "proto") for one in _files(folder, kind)]
        yield _absent(f"{SCHEMAS}/{file}", file, known, SCHEMAS, place)


def _absent(path: str, got: str, known: list[str], folder: str, place: Place) -> Problem:
    return place.problem(
        "TW140",
        f"there is no {path}",
        got=got,
        expected=", ".join(known[:10]) or f"a file in {folder}/",
        suggestion=nearest(got, known),
    )


def _files(folder: Path, kind: str = "py") -> list[Path]:
    return sorted(
        one for one in folder.rglob(f"*.{kind}") if "__pycache__" not in one.parts and one.name != "__init__.py"
    )


def _defines(file: Path, root: Path, function: str, place: Place, prefix: str = "") -> Iterator[Problem]:
    shown = file.relative_to(root).as_posix()
    try:
        names = _names(ast.parse(file.read_bytes(), filename=str(file)))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        yield place.problem("TW142", f"{shown}{line} is not Python: {getattr(error, 'msg', error)}", got=shown)
        return
    if function not in names and "*" not in names:
        name = nearest(function, names)
        yield place.problem(
            "TW141",
            f"{shown} does not define {function}",
            got=f"{prefix}{function}",
            expected=f"def {function}(…)",
            suggestion=f"{prefix}{name}" if name else None,
        )


def _names(module: ast.Module) -> set[str]:
    """What a module binds at its top level: functions, imports, assigned names."""
    found: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found

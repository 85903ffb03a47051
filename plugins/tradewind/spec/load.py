"""From files to validated pipelines, each with all of its own problems and nobody else's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from tradewind.errors import Problem, TradewindError
from tradewind.spec.awaited import Made, tables_of, unmade
from tradewind.spec.folders import defaults_files, merge, pipeline_files, read_defaults, shown_path
from tradewind.spec.nodes import Mapping, parse, plain
from tradewind.spec.pipeline import Pipeline
from tradewind.spec.places import find
from tradewind.spec.rules import crosscheck
from tradewind.spec.secrets import leaks
from tradewind.spec.translate import problems_of


@dataclass(frozen=True)
class Loaded:
    """One file: its text, and the pipeline or what is wrong with it."""

    path: Path
    text: str
    pipeline: Pipeline | None
    problems: tuple[Problem, ...] = ()
    node: Mapping | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that are not warnings."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def load(path: Path, *, root: Path | None = None) -> Pipeline:
    """One validated pipeline.

    Args:
        path: the YAML.
        root: the project, which has include/models, spark_jobs and shared defaults; found above the YAML if not given.

    Raises:
        TradewindError: with all problems of the file.
    """
    return _result(read(path, root=root))


def load_text(text: str, file: str = "pipeline.yaml", *, root: Path | None = None) -> Pipeline:
    """A validated pipeline of a text alone: no shared defaults, and no look at user code if no root is given.

    Raises:
        TradewindError: with all problems of the text.
    """
    return _result(_checked(Path(file), text, file, [], root))


def load_all(paths: Iterable[Path], *, root: Path | None = None) -> list[Loaded]:
    """Every file with its own problems, sorted by path. A name that is used twice is the later file's problem; what
    nobody makes, of the one that waits for it.
    """
    pipelines: dict[str, Loaded] = {}
    models: dict[str, Loaded] = {}
    found = []
    for path in sorted(paths):
        loaded = read(path, root=root)
        loaded = _unique(loaded, pipelines, ("pipeline",), "TW105", "the pipeline's name")
        loaded = _unique(loaded, models, ("promote", "model"), "TW106", "the model")
        found.append(loaded)
    tables = {name: tables_of(one.pipeline) if one.pipeline else None for name, one in pipelines.items()}
    whole = _whole({one.path for one in found}, root)
    return [_awaiting(one, Made(tables, models, one.path in whole)) for one in found]


def read(path: Path, *, root: Path | None = None) -> Loaded:
    """One file, and what is wrong with it."""
    path = Path(os.path.abspath(path))
    root = Path(os.path.abspath(root)) if root else root_of(path)
    file = shown_path(path, root)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
        problem = Problem(code="TW100", message=f"the file cannot be read: {what}", file=file)
        return Loaded(path, "", None, (problem,))
    shared = [read_defaults(one, shown_path(one, root)) for one in defaults_files(path, root)]
    return _checked(path, text, file, shared, root)


def root_of(path: Path) -> Path:
    """The project of a YAML: the nearest folder above it that has `profiles/`, else its own folder."""
    return next((folder for folder in path.parents if (folder / "profiles").is_dir()), path.parent)


def _checked(
    path: Path, text: str, file: str, shared: list[tuple[Mapping | None, list[Problem]]], root: Path | None
) -> Loaded:
    node, problems = parse(text, file)
    problems = [*problems, *leaks(text, file, node)]
    secret = {(problem.file, problem.line) for problem in problems if problem.code == "TW150"}
    if node is None:
        return Loaded(path, text, None, tuple(problems))
    for defaults, wrong in reversed(shared):  # the nearest folder's first
        problems += wrong
        node = merge(defaults, node) if defaults else node
    pipeline = None
    try:
        pipeline = Pipeline.model_validate(plain(node))
    except ValidationError as error:
        problems += problems_of(error, node, Pipeline)
    told = {problem.path for problem in problems}  # what is wrong by itself need not be compared with others
    problems += [problem for problem in crosscheck(node, root) if problem.path not in told]
    problems = [_hushed(problem, secret) for problem in problems]
    if any(problem.severity == "error" for problem in problems):
        pipeline = None
    return Loaded(path, text, pipeline, tuple(sorted(problems, key=lambda one: _order(one, file))), node)


def _order(problem: Problem, file: str) -> tuple[bool, str, int, int, str]:
    return (problem.file != file, problem.file or "", problem.line or 0, problem.column or 0, problem.code)


def _hushed(problem: Problem, secret: set[tuple[str | None, int | None]]) -> Problem:
    """A problem that does not repeat a secret of its line."""
    if problem.code == "TW150" or (problem.file, problem.line) not in secret or problem.code == "TW110":
        return problem
    return problem.model_copy(
        update={"got": None, "message": "the value is not right here (not shown: it looks secret)"}
    )


def _result(loaded: Loaded) -> Pipeline:
    if loaded.pipeline is None:
        raise TradewindError(*loaded.errors)
    return loaded.pipeline


def _whole(files: set[Path], root: Path | None) -> set[Path]:
    """The files of projects all of whose pipelines are among these."""
    projects = {Path(os.path.abspath(root)) if root else root_of(path) for path in files}
    return {path for project in projects if files.issuperset(own := pipeline_files(project)) for path in own}


def _awaiting(loaded: Loaded, made: Made) -> Loaded:
    """The file as it is, or with what it waits for in vain."""
    if loaded.pipeline is None or loaded.node is None:
        return loaded
    problems = (*loaded.problems, *unmade(loaded.pipeline, loaded.node, made))
    wrong = any(problem.severity == "error" for problem in problems)
    return replace(loaded, pipeline=None if wrong else loaded.pipeline, problems=problems)


def _unique(loaded: Loaded, seen: dict[str, Loaded], loc: tuple[str, ...], code: str, what: str) -> Loaded:
    """The file as it is, or refused where an earlier one, right or wrong, has its name."""
    if loaded.node is None:
        return loaded
    place = find(loaded.node, loc)
    name = plain(place.node)
    if len(place.path) != len(loc) or not isinstance(name, str):
        return loaded
    first = seen.setdefault(name, loaded)
    if first is loaded or first.path == loaded.path:
        return loaded
    assert first.node is not None
    where = find(first.node, loc).node.mark
    problem = place.problem(code, f"{what} {name!r} is already used at {where}", got=name, fix="choose another name")
    return replace(loaded, pipeline=None, problems=(*loaded.problems, problem))

"""From a project's YAML files to stubs: one small Airflow DAG file a YAML, with the plan in it as data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tradewind
from tradewind import git
from tradewind.plan.build import build
from tradewind.plan.code import ROOTS, UserCode
from tradewind.profile import Profile
from tradewind.spec import Loaded, load_all
from tradewind.spec.folders import NAMES as DEFAULTS
from tradewind.spec.folders import PIPELINES, pipeline_files
from tradewind_runtime.contract.errors import Problem, TradewindError


@dataclass(frozen=True)
class Compiled:
    """What became of one YAML."""

    source: str  # its path in the project
    stub: Path
    problems: tuple[Problem, ...]


def inputs(project: Path, profile: str) -> list[Path]:
    """All files that decide what a project compiles to."""
    tops = (PIPELINES, *ROOTS)
    found = (path for top in tops for path in (project / top).rglob("*") if path.is_file())
    files = [path for path in found if "__pycache__" not in path.parts]
    shared = [folder / name for folder in (project, project / "dags") for name in DEFAULTS]
    return sorted([*files, *shared, project / "profiles" / f"{profile}.yaml"])


def version_of(project: Path, files: Iterable[Path]) -> str:
    """The digest of those files, by name and content, and of the compiler itself; in Git, with the commit.

    The commit is a part of it, so that a machine without Git compiles the same from it.
    """
    total = hashlib.sha256(_compiler_digest().encode())
    for path in files:
        total.update(f"{path.relative_to(project).as_posix()}\0{_digest(path)}\0".encode())
    return ".".join(part for part in (total.hexdigest()[:20], commit_of(project)) if part)


def commit_of(project: Path) -> str:
    """The commit that a project's pipelines and user code are of; empty outside Git."""
    return git.commit_of(project, "dags", "profiles", *ROOTS, *DEFAULTS)


def same_files(version: str, other: str) -> bool:
    """Whether two versions are of the same files, committed or not."""
    return version.partition(".")[0] == other.partition(".")[0]


def compile_project(project: Path, out: Path, profile: Profile, *, version: str) -> list[Compiled]:
    """Write a stub for each YAML, and the archive of user code beside them.

    A YAML that is wrong becomes a stub that raises its problems, so that it disturbs no other.
    """
    code = UserCode.of(project)
    (out / "code").mkdir(parents=True, exist_ok=True)
    (out / "code" / f"{code.digest}.tar.gz").write_bytes(code.archive)
    compiled = []
    for loaded in load_all(pipeline_files(project)):
        stub = out / f"{loaded.path.relative_to(project / PIPELINES)}.py"  # a.yaml and a.yml are two
        source = loaded.path.relative_to(project).as_posix()
        text, problems = _text(loaded, source, profile, code, version)
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(text)
        compiled.append(Compiled(source, stub, problems))
    return compiled


def _text(
    loaded: Loaded, source: str, profile: Profile, code: UserCode, version: str
) -> tuple[str, tuple[Problem, ...]]:
    """A stub's content, and what is wrong with its YAML."""
    errors = tuple(problem for problem in loaded.problems if problem.severity == "error")
    if loaded.pipeline is None or errors:
        return _error_stub(source, loaded.text, errors), errors
    digest, _, commit = version.partition(".")
    try:
        plan = build(
            loaded.pipeline, profile, code, file=source, text=loaded.text, commit=commit or digest, node=loaded.node
        )
    except TradewindError as error:
        return _error_stub(source, loaded.text, error.problems), error.problems
    depth = len(Path(source).relative_to(PIPELINES).parts) - 1
    return _stub(source, loaded.text, plan.model_dump_json(), depth), ()


def _stub(source: str, text: str, plan: str, depth: int) -> str:
    return "\n".join(
        (
            f'"""Airflow DAGs of {source}, compiled by Tradewind {tradewind.__version__}: edit the YAML, not this."""',
            "import airflow.sdk  # noqa: F401 - imported once by the DAG processor, before it forks",
            "from tradewind.factory import dags_of",
            "",
            f"YAML = ({_lines(text)})",
            f"PLAN = {plan!r}",
            f"globals().update(dags_of(PLAN, file=__file__, text=YAML, depth={depth}))",
            "",
        )
    )


def _error_stub(source: str, text: str, problems: Iterable[Problem]) -> str:
    message = "\n".join(str(problem) for problem in problems)
    return "\n".join(
        (
            f'"""No Airflow DAGs: {source} is wrong. Tradewind says why."""',
            f"YAML = ({_lines(text)})",
            "from tradewind.errors import PipelineError",
            f"raise PipelineError({_lines(message)})",
            "",
        )
    )


def _lines(text: str) -> str:
    """A text as Python, line by line: `repr` keeps it from ever ending its own quotes."""
    return "\n".join(["", *(f"    {line!r}" for line in text.splitlines(keepends=True)), ""]) if text else "''"


def _compiler_digest() -> str:
    package = Path(tradewind.__file__).parent
    files = sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)
    return hashlib.sha256("".join(_digest(path) for path in files).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def signature(files: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    """A quick look whether anything changed: name, time and size of each file."""
    for path in files:
        stat = path.stat() if path.is_file() else None
        yield (str(path), stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0)

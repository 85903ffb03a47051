"""Shared defaults: `defaults.yaml` of every folder from the project down to the YAML, merged under it.

A default never adds a step: blocks that are steps, sources and checks take defaults only where the YAML has them.
Values keep their places, so that a wrong default is shown where it stands, to those who use it and to nobody else.
"""

from __future__ import annotations

from pathlib import Path

from tradewind.errors import Problem
from tradewind.spec.nodes import Mapping, parse
from tradewind_runtime.contract.sources import SOURCE_KINDS
from tradewind_runtime.contract.tune import Tune

PIPELINES = "dags/pipelines"
NAMES = ("defaults.yaml", "defaults.yml")

#: Blocks that a default may bring in by itself; it only fills in the others.
_BROUGHT_IN = ("description", "owner", "tags", "schedule", "params", "alerts", "defaults", "evaluate", "split")
#: Of each group of keys a YAML chooses one; its choice drops the defaults of the others.
_CHOICES: dict[str, tuple[tuple[str, ...], ...]] = {
    "sources.*": tuple((kind,) for kind in SOURCE_KINDS),
    "transform": (("spark",), ("sql",), ("python",), ("beam",)),
    "train": (("function",), ("estimator",)),
    "split": (("random",), ("time", "train", "valid", "test")),
    "schedule": (("cron", "start", "end", "catchup", "timezone"), ("after",)),
    "tune": tuple((tuner,) for tuner in Tune.model_fields),
    "tune.*.prune": (("median",), ("asha",)),
    "tune.*.space.*": (("int",), ("float",), ("log",), ("choice",)),
}
#: Mappings whose keys are names, which a path above stands for all of.
_NAMED = ("sources", "tune", "tune.*.space")


def pipeline_files(project: Path) -> list[Path]:
    """The YAML files of a project, in order; shared defaults are not pipelines."""
    found = (path for pattern in ("*.yaml", "*.yml") for path in (project / PIPELINES).rglob(pattern))
    return sorted(path for path in found if path.stem != "defaults")


def defaults_files(path: Path, root: Path) -> list[Path]:
    """The defaults that hold for a YAML, from the project's folder down."""
    folder = path.parent
    above = [one for one in (*reversed(folder.parents), folder) if one.is_relative_to(root)] or [folder]
    return [found for one in above for name in NAMES if (found := one / name).is_file() and found != path]


def read_defaults(path: Path, file: str) -> tuple[Mapping | None, list[Problem]]:
    """One file of defaults; an empty one says nothing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem(code="TW100", message=f"the shared defaults cannot be read: {error}", file=file)]
    if not any(line.partition("#")[0].strip() for line in text.splitlines()):
        return None, []
    node, problems = parse(text, file)
    if node is None:
        return None, problems
    for key in ("version", "pipeline"):
        if key in node.items:
            mark = node.keys[key]
            problems.append(
                Problem(
                    code="TW110",
                    file=file,
                    line=mark.line,
                    column=mark.column,
                    path=key,
                    got=key,
                    message=f"{key!r} cannot be shared: it is each pipeline's own",
                    fix=f"remove {key}",
                )
            )
            del node.items[key], node.keys[key]
    return node, problems


def merge(under: Mapping, over: Mapping, path: str = "") -> Mapping:
    """`over`, with what only `under` has filled in."""
    made = Mapping(over.mark, dict(over.items), dict(over.keys))
    for key, item in under.items.items():
        if key not in over.items:
            if _applies(key, over, path):
                made.items[key], made.keys[key] = item, under.keys[key]
        elif isinstance(item, Mapping) and isinstance(mine := over.items[key], Mapping):
            made.items[key] = merge(item, mine, _below(path, key))
    return made


def _below(path: str, key: str) -> str:
    if path in _NAMED:
        return f"{path}.*"
    return f"{path}.{key}" if path else key


def _applies(key: str, over: Mapping, path: str) -> bool:
    if not path:
        return key in _BROUGHT_IN or not _known_block(key)
    if path in ("sources", "checks"):
        return False
    for group in _CHOICES.get(path, ()):
        if key in group:
            others = [one for other in _CHOICES[path] if other != group for one in other]
            return not any(one in over.items for one in others)
    return True


def _known_block(key: str) -> bool:
    from tradewind.spec.pipeline import Pipeline

    return key in Pipeline.model_fields


def shown_path(path: Path, root: Path) -> str:
    """A file's name in problems: below the project where it is there, so that it is the same everywhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

"""Tables and models that a pipeline waits for: does another one make them?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tradewind.errors import Problem, nearest
from tradewind.spec import nodes
from tradewind.spec.pipeline import Pipeline
from tradewind.spec.places import Place, find


@dataclass(frozen=True)
class Made:
    """What the pipelines that were loaded together make."""

    tables: Mapping[str, Collection[str] | None]  # by pipeline; None: it is wrong, and may mean any
    models: Collection[str]
    whole: bool  # all of the project's pipelines are among them


def tables_of(pipeline: Pipeline) -> tuple[str, ...]:
    """The tables whose updates a pipeline tells."""
    features = ("features",) if pipeline.transform or pipeline.train else ()
    return (*pipeline.sources, *features, *((pipeline.score.output,) if pipeline.score else ()))


def unmade(pipeline: Pipeline, node: nodes.Mapping, made: Made) -> Iterator[Problem]:
    """What it waits for and nobody makes. Another project may make what is of no pipeline here: that is a warning."""
    for index, asset in enumerate(pipeline.schedule.after if pipeline.schedule else ()):
        place = find(node, ("schedule", "after", index))
        kind, owner, *table = asset.removeprefix("tradewind://").split("/")
        if kind == "table" and owner in made.tables:
            yield from _table(place, owner, table[0], made.tables[owner])
        elif made.whole and owner not in (made.models if kind == "model" else made.tables):
            yield _stranger(place, kind, owner, table, made)


def _table(place: Place, owner: str, table: str, known: Collection[str] | None) -> Iterator[Problem]:
    if known is not None and table not in known:
        near = nearest(table, known)
        yield place.problem(
            "TW149",
            f"the pipeline {owner!r} makes no table {table!r}",
            got=table,
            expected=", ".join(known),
            suggestion=near and f"tradewind://table/{owner}/{near}",
        )


def _stranger(place: Place, kind: str, name: str, table: list[str], made: Made) -> Problem:
    known = made.models if kind == "model" else made.tables
    near = nearest(name, known)
    return place.problem(
        "TW149",
        f"no pipeline of this project {'promotes the model' if kind == 'model' else 'is called'} {name!r}",
        severity="warning",
        got=name,
        expected=", ".join(sorted(known)) or None,
        suggestion=near and "/".join((f"tradewind://{kind}", near, *table)),
        fix="correct it, unless another project makes it",
    )

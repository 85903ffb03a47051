"""How long rows are kept: of tables that there are, by columns that say how old a row is."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.errors import Problem, nearest
from tradewind.spec.nodes import plain
from tradewind.spec.rules.view import View, rule
from tradewind.spec.tables import CHECKS, QUARANTINE, of_source, tables

_TIMES = ("timestamp", "date")
#: Of what ingestion adds to a row.
_ADDED = {"_ingested": "timestamp", "_timestamp": "timestamp", "_source": "string", "_position": "long"}


@rule
def retained_tables(view: View) -> Iterator[Problem]:
    """Rows are kept of tables that the pipeline has."""
    known = _tables(view)
    block = plain(view.at("maintenance", "retain").node) if view.given("maintenance", "retain") else None
    for table in block if isinstance(block, dict) else ():
        if table not in known:
            place = view.at("maintenance", "retain", table)
            yield place.problem(
                "TW128",
                f"there is no table {table!r} whose rows could be kept",
                at=place.key,
                got=table,
                expected=", ".join(known),
                suggestion=nearest(table, known),
            )
        else:
            yield from _column(view, table, known[table])


def _tables(view: View) -> dict[str, str | None]:
    """Also those of sources that are wrong by themselves."""
    found: dict[str, str | None] = {}
    for name in view.names("sources"):
        found |= of_source(name, view.draft.sources.get(name))
    return found | dict(tables(view.draft))


def _column(view: View, table: str, usual: str | None) -> Iterator[Problem]:
    path = ("maintenance", "retain", table, "by")
    place, named = view.at(*path), view.given(*path)
    if not named and usual is None and _source_of(view, table) is None:
        yield place.problem(
            "TW128",
            f"nothing says how old a row of {table!r} is",
            at=place.key,
            expected="by: a column of times",
            fix="add by, or split.time",
        )
    source = view.draft.sources.get(_source_of(view, table) or "")
    if source and source.kafka is None and not table.endswith("_quarantine"):
        yield place.problem(
            "TW128",
            f"rows of {table!r} cannot go by their age: the source may give them again, and they would be new",
            at=None if named else view.at("maintenance", "retain", table).key,
            got=table,
            expected="a table of a source of Kafka, a quarantine, or one that steps make",
            fix="remove it, or read the source by a topic",
        )
    types = _types(view, table)
    by = plain(place.node) if named else usual
    if types is None or not isinstance(by, str):
        return
    if by not in types:
        yield place.problem(
            "TW128",
            f"the table {table!r} has no column {by!r}",
            at=None if named else place.key,
            got=by,
            expected=", ".join(types),
            suggestion=nearest(by, types),
        )
    elif types[by] not in _TIMES:
        yield place.problem(
            "TW128",
            f"a column of type {types[by]} does not say how old a row is",
            at=None if named else place.key,
            got=by,
            expected=f"a column of type {' or '.join(_TIMES)}",
        )


def _source_of(view: View, table: str) -> str | None:
    return next((name for name in view.names("sources") if table in of_source(name, None)), None)


def _types(view: View, table: str) -> dict[str, str] | None:
    """Column → type, where it is known which there are."""
    fixed: dict[str, tuple[str, ...]] = {f"{name}_quarantine": QUARANTINE for name in view.names("sources")}
    if view.draft.checks:
        fixed["checks"] = CHECKS
    if table in fixed:
        return dict.fromkeys(fixed[table], "timestamp")
    source = _source_of(view, table)
    declared = view.columns(source or table)
    if declared is None:
        return None
    return {**{name: str(kind) for name, kind in declared.items()}, **_ADDED}

"""Sources, asked from the command line as a step would ask them."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradewind_runtime.contract.sources import Source
    from tradewind_runtime.sources import Access
    from tradewind_runtime.verify import Verified


def verified(file: Path, table: str | None, profile: str | None) -> Iterator[Verified]:
    """Each source of a pipeline, held against what it still gives.

    Args:
        file: the pipeline's YAML, as it is now.
        table: one of its raw tables; all of them by default.
        profile: as for any command.

    Raises:
        TradewindError: of the YAML; TW341 where no source writes that table, TW344 where a connection is not at hand.
        StepError: where a source cannot be asked.
    """
    from tradewind.cli.plan import planned
    from tradewind.cli.systems import lake
    from tradewind.cli.telling import unknown
    from tradewind_runtime.reconcile import KINDS, ask
    from tradewind_runtime.retention import cuts
    from tradewind_runtime.verify import verify_table

    pipeline, _ = planned(file, profile)
    sources = {f"{pipeline.pipeline}/{name}_raw": (name, source) for name, source in pipeline.sources.items()}
    if table is not None and table not in sources:
        raise unknown(f"no source of {file} writes {table!r}", table, sources)
    for raw, (name, source) in sources.items():
        if table not in (None, raw):
            continue
        if source.kind not in KINDS:
            if lake(profile).table(raw).exists():
                yield from verify_table(lake(profile), raw)
            continue
        # Messages that say how old they are must be decoded.
        uses = ("source", "schemas") if cuts(lake(profile).table(raw)) else ("source",)
        allowed = access(file, name, source, profile, uses)
        with tempfile.TemporaryDirectory(prefix="tradewind-verify-") as scratch:
            yield from verify_table(allowed.lake, raw, partial(ask, source, replace(allowed, scratch=Path(scratch))))


def access(file: Path, name: str, source: Source, profile: str | None, uses: Collection[str]) -> Access:
    """What a source may use, by the connections that are at hand.

    Args:
        file: the pipeline's YAML.
        name: the source's.
        source: itself.
        profile: as for any command.
        uses: which of its connections are wanted.

    Raises:
        TradewindError: TW344 where one of them is not at hand.
    """
    from tradewind.cli.systems import connection, lake
    from tradewind.errors import Problem, TradewindError
    from tradewind.profile import project_root
    from tradewind_runtime.connections import variable
    from tradewind_runtime.sources import Access

    named = {use: id for use, id in source.connections.items() if use in uses}
    at_hand = {use: found for use, id in named.items() if (found := connection(id)) is not None}
    if missing := [id for use, id in named.items() if use not in at_hand]:
        raise TradewindError(
            *(
                Problem(
                    code="TW344", message=f"there is no connection {id!r} at hand", path=f"sources.{name}",
                    fix=f"set {variable(id)} to its text, as Airflow has it",
                )
                for id in missing
            )
        )  # fmt: skip
    root = project_root(file.resolve().parent)
    return Access(
        lake(profile),
        connection=at_hand.get("source"),
        registry=at_hand.get("schemas"),
        schemas=root / "include/schemas",
        project=root,
    )

"""`tradewind sweep`: how a search for parameters goes, while it goes and afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.sweep import End, Trial, Usage
from tradewind_runtime.contract.tune import Search

if TYPE_CHECKING:
    from tradewind_runtime.trials import Trials

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Sweeps and their trials.",
    epilog="Example: tradewind sweep show flight-delays --watch",
)
SECONDS = 2.0  # from one look to the next


@app.callback()
def _root() -> None: ...


class Shown(Frozen):
    """One look at a sweep."""

    pipeline: str
    run: str = Field(description="That began it.")
    tuner: str
    search: Search
    over: bool
    ended_by: End | None = Field(None, description="None while it is not over, and no budget is used up.")
    best: Trial | None
    best_so_far: tuple[float | None, ...] = Field(description="After each trial, by their numbers.")
    trials: tuple[Trial, ...]
    importance: dict[str, float] = Field(description="Share of the scores' variance that a parameter explains.")
    usage: Usage


@app.command("show")
def show(
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    run: Annotated[str | None, typer.Option(help="A run's id; the sweep that was begun last by default.")] = None,
    watch: Annotated[bool, typer.Option(help="Look again as trials end, until the sweep is over.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Trials to list, the last ones.")] = 30,
    format: Annotated[
        Literal["text", "json"], typer.Option(help="text or json; a line a look, with --watch.")
    ] = "text",
    profile: Annotated[str | None, typer.Option(help="Of profiles/; TRADEWIND_PROFILE or local by default.")] = None,
) -> None:
    """Show the trials of a sweep, the best so far, and how much each parameter matters.

    Example: tradewind sweep show flight-delays --watch
    """
    from rich.console import Console

    from tradewind.profile import load_profile

    looking = _Looking(_sweep(pipeline, run, profile), load_profile(profile).settings.get("price_per_hour"))
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no width to cut a table to
    if format == "text" and watch and console.is_terminal:
        _live(looking, console, limit)
        return
    before = None
    while True:
        found = looking.look()
        if found != before:
            typer.echo(_json(found)) if format == "json" else console.print(_page(found, limit))
        if not watch or found.over:
            return
        before = found
        time.sleep(SECONDS)


class _Looking:
    """Reads what has changed since the last look."""

    def __init__(self, trials: Trials, price_per_hour: float | None) -> None:
        self._trials, self._price = trials, price_per_hour
        self._known: dict[int, Trial] = {}
        self._importance: tuple[int, dict[str, float]] = (0, {})

    def look(self) -> Shown:
        """The sweep as it is now."""
        from tradewind_runtime.budgets import used
        from tradewind_runtime.sweeps import best_of

        result = self._trials.result()  # first: what it has is then there too
        trials = tuple(self._trials.all(self._known))
        self._known = {trial.index: trial for trial in trials if trial.state in ("done", "pruned")}
        search, ended = self._trials.search, self._trials.ended()
        return Shown(
            pipeline=self._trials.request.pipeline,
            run=self._trials.request.run_id,
            tuner=self._trials.tune.tuner,
            search=search,
            over=result is not None,
            ended_by=ended.by if ended else "trials" if result else None,
            best=best_of(trials, search),
            best_so_far=tuple(_curve(trials, search)),
            trials=trials,
            importance=self._matters(trials),
            usage=used(trials, search, self._price),
        )

    def _matters(self, trials: tuple[Trial, ...]) -> dict[str, float]:
        count = sum(trial.state == "done" for trial in trials)
        if count != self._importance[0]:
            try:
                from tradewind_runtime.tuners.optuna import importance
            except ModuleNotFoundError:  # an Airflow without the steps' libraries
                return {}
            self._importance = (count, importance(self._trials.search, trials))
        return self._importance[1]


def _curve(trials: tuple[Trial, ...], search: Search) -> Iterator[float | None]:
    from tradewind_runtime.sweeps import best_of

    best: Trial | None = None
    for trial in trials:
        best = best_of([one for one in (best, trial) if one is not None], search)
        yield None if best is None else best.score


def _sweep(pipeline: str, run: str | None, profile: str | None) -> Trials:
    from tradewind.cli.systems import lake
    from tradewind.errors import nearest
    from tradewind.plan.request import run_key
    from tradewind_runtime.contract.errors import Problem, TradewindError
    from tradewind_runtime.trials import newest

    documents = lake(profile).documents
    found = newest(documents, pipeline, run_key("train", run) if run else None)
    if found is None:
        known = documents.folders("runs")
        of = f"the run {run!r} of {pipeline!r}" if run else f"the pipeline {pipeline!r}"
        raise TradewindError(
            Problem(
                code="TW342",
                message=f"there is no sweep of {of}",
                got=run or pipeline,
                expected=", ".join(known) or "none has run yet",
                suggestion=nearest(pipeline, known) if pipeline not in known else None,
                fix=None if known else "run a pipeline with a block tune",
            )
        )
    return found


def _live(looking: _Looking, console: Any, limit: int) -> None:
    from rich.live import Live

    found = looking.look()
    with Live(_page(found, limit), console=console, auto_refresh=False) as live:
        while not found.over:
            time.sleep(SECONDS)
            found = looking.look()
            live.update(_page(found, limit), refresh=True)


def _json(found: Shown) -> str:
    import json

    return json.dumps({"ok": True, "sweep": found.model_dump(mode="json")})


def _page(found: Shown, limit: int) -> Any:
    from rich.console import Group

    return Group(*_head(found), _table(found, limit), *_importance(found))


def _head(found: Shown) -> list[str]:
    states = Counter(trial.state for trial in found.trials)
    counts = ", ".join(f"{states[state]} {state}" for state in ("running", "done", "pruned", "failed") if states[state])
    used = f"{found.usage.seconds:.0f} s" + ("" if found.usage.cost is None else f", cost {found.usage.cost:.2f}")
    end = f"; over, ended by {found.ended_by}" if found.over else f"; {found.ended_by} used up" * bool(found.ended_by)
    search, best = found.search, found.best
    lines = [
        f"{found.pipeline}, run {found.run}: {found.tuner}, {search.direction} {search.metric}",
        f"{len(found.trials)} of {search.trials} trials: {counts or 'none yet'}; {used}{end}",
    ]
    if best is not None and best.score is not None:
        params = ", ".join(f"{name}={_number(value)}" for name, value in best.params.items())
        lines.append(f"best: {best.score:.5f} by trial {best.index + 1} ({params})")
    return lines


def _table(found: Shown, limit: int) -> Any:
    from rich.table import Table

    names = list(found.search.space)
    table = Table()
    for column in ("trial", "state", found.search.metric, "best so far", *names, "seconds", "why"):
        table.add_column(column, overflow="fold")
    for trial, best in list(zip(found.trials, found.best_so_far, strict=True))[-limit:]:
        table.add_row(
            str(trial.index + 1),
            trial.state,
            _number(trial.score),
            _number(best),
            *(_number(trial.params.get(name)) for name in names),
            f"{trial.seconds:.1f}" if trial.finished else "",
            (trial.reason or "").partition("\n")[0],
        )
    return table


def _importance(found: Shown) -> list[str]:
    if not found.importance:
        return []
    width = max(map(len, found.importance))
    bars = [f"{name:{width}} {share:4.0%} {'█' * round(30 * share)}" for name, share in found.importance.items()]
    return ["what matters (share of the scores' variance):", *bars]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)

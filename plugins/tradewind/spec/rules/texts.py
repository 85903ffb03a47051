"""Words in braces, schedules, and user code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tradewind.errors import Problem, nearest
from tradewind.spec.nodes import scalars
from tradewind.spec.places import Place
from tradewind.spec.rules.view import View, rule
from tradewind.spec.schedule import checked_cron
from tradewind.spec.usercode import function_problem, job_problem, schema_problem
from tradewind_runtime.contract import dates

#: What stands in braces in a text, such as {params.max_rounds} or {window.date:%Y/%m/%d}.
_WORD = re.compile(r"\{([A-Za-z_]+)\.([A-Za-z0-9_.-]+)(?::([^{}]*))?\}")
_WINDOW = ("start", "end", "date")
#: Blocks in which words are filled in when a step is asked for.
_FILLED = ("sources", "checks", "transform", "tune", "train", "evaluate", "score")


@rule
def words(view: View) -> Iterator[Problem]:
    """What stands in braces stands for something."""
    params = view.names("params")
    for path, scalar in scalars(view.node):
        if not isinstance(scalar.value, str) or path[0] in ("description", "params"):
            continue
        place = Place(path, scalar, scalar.mark)
        for match in _WORD.finditer(scalar.value):
            yield from _word(place, match, params)


def _word(place: Place, match: re.Match[str], params: list[str]) -> Iterator[Problem]:
    kind, name, format = match.groups()
    path = place.path
    if kind == "params" and name not in params:
        yield place.problem(
            "TW130",
            f"there is no param {name!r}",
            got=match[0],
            expected=", ".join(params) or "a block params",
            suggestion=nearest(name, params),
            fix=f"add it: params: {{{name}: …}}",
        )
    elif kind == "window" and name not in _WINDOW:
        yield place.problem(
            "TW131",
            f"a window has no {name!r}",
            got=match[0],
            suggestion=nearest(name, _WINDOW),
            expected=", ".join(f"{{window.{word}}}" for word in _WINDOW),
        )
    elif kind not in ("params", "window"):
        yield place.problem(
            "TW131",
            f"{match[0]} stands for nothing",
            got=match[0],
            expected="{params.NAME} or {window.start}",
            suggestion=nearest(kind, ("params", "window")),
        )
    elif path[0] not in _FILLED:
        yield place.problem(
            "TW131", f"{match[0]} is not filled in here", got=match[0], expected=f"a value of {', '.join(_FILLED)}"
        )
    elif kind == "window" and name == "date" and path[2:] != ("objects", "uri"):
        yield place.problem(
            "TW131",
            "{window.date} stands for every date of the window, in an objects source's uri only",
            got=match[0],
            expected="{window.start} or {window.end}",
        )
    elif format is not None:
        yield from _format(place, match)


def _format(place: Place, match: re.Match[str]) -> Iterator[Problem]:
    kind, name, format = match.groups()
    if (kind, name) != ("window", "date"):
        yield place.problem(
            "TW131", f"{{{kind}.{name}}} is filled in as it is, without a format", got=match[0],
            expected=f"{{{kind}.{name}}}",
        )  # fmt: skip
    elif (wrong := dates.unknown(format)) or "%" not in format:
        yield place.problem(
            "TW131", f"no date has a {wrong[0]}" if wrong else "there is no part of a date in the format",
            got=match[0], expected=", ".join(dates.PARTS), fix="such as {window.date:%Y/%m/%d}",
        )  # fmt: skip


@rule
def schedules(view: View) -> Iterator[Problem]:
    """Cron expressions, and spans in order."""
    draft = view.draft
    crons = [
        (("schedule", "cron"), draft.schedule.cron if draft.schedule else None),
        (("monitor", "schedule"), draft.monitor.schedule if draft.monitor else None),
        (("score", "schedule"), draft.score.schedule if draft.score else None),
        (("maintenance", "schedule"), draft.maintenance.schedule if draft.maintenance else None),
    ]
    for path, cron in crons:
        try:
            checked_cron(cron or "@daily")
        except ValueError as error:
            yield view.at(*path).problem("TW146", str(error), got=cron, fix='such as "@daily" or "0 6 * * *"')
    schedule = draft.schedule
    if schedule is None:
        return
    if schedule.start and schedule.end and schedule.start > schedule.end:
        yield view.at("schedule", "end").problem(
            "TW147",
            f"it ends on {schedule.end}, before it starts on {schedule.start}",
            got=str(schedule.end),
            expected=f"{schedule.start} or later",
        )
    yield from _arrival(view)
    for index, asset in enumerate(schedule.after):
        own = (
            f"tradewind://table/{draft.pipeline}/",
            f"tradewind://model/{draft.promote.model if draft.promote else ''}",
        )
        if asset.startswith(own[0]) or asset == own[1]:
            yield view.at("schedule", "after", index).problem(
                "TW148",
                "a pipeline cannot wait for what it makes itself",
                got=asset,
                expected="a table or model of another pipeline",
            )


def _arrival(view: View) -> Iterator[Problem]:
    """What is watched is a topic of this pipeline, or objects whose names tell of no window."""
    schedule = view.draft.schedule
    if schedule is None or schedule.arrival is None:
        return
    name, sources = schedule.arrival.source, view.draft.sources
    watched = [key for key, one in sources.items() if one.kafka or one.objects]
    wrong = name in view.names("sources") and name not in sources  # which is told by itself
    if name not in watched and not wrong:
        yield view.at("schedule", "arrival", "source").problem(
            "TW151",
            f"{name} is no source of Kafka or of objects",
            got=name,
            expected=", ".join(watched) or "a source of Kafka or of objects",
            suggestion=nearest(name, watched),
            fix="only topics and objects are watched; start by a cron otherwise",
        )
    if name not in watched:
        return
    own, other = ("messages", "objects") if sources[name].kafka else ("objects", "messages")
    if view.given("schedule", "arrival", other):
        place = view.at("schedule", "arrival", other)
        yield place.problem(
            "TW151", f"{name} has no {other}: it has {own}", at=place.key, expected=own, fix=f"name it {own}"
        )
    objects = sources[name].objects
    if objects and "{window." in objects.uri:
        yield view.at("sources", name, "objects", "uri").problem(
            "TW151",
            "what arrives has no window yet, so nothing of a window can be watched",
            got=objects.uri,
            expected="a glob, such as s3://bucket/*/*.csv",
            fix="name the objects by a glob; or start by a cron, and have its runs wait: objects.wait",
        )


@rule
def defaults_of_params(view: View) -> Iterator[Problem]:
    """A run that nobody starts is given nothing."""
    wakes = view.given("schedule") or (view.draft.monitor is not None and view.draft.monitor.then == "retrain")
    for name, param in view.draft.params.items():
        if wakes and param.required:
            place = view.at("params", name)
            why = "the pipeline starts by itself" if view.given("schedule") else "drift starts the pipeline"
            yield place.problem(
                "TW132",
                f"{why}, and {name!r} has no default",
                at=place.key,
                expected="a default",
                fix="add default: …, or optional: true",
            )


@rule
def user_code(view: View) -> Iterator[Problem]:
    """Functions, jobs and schemas are there. Their files are read, never imported."""
    if view.root is None:
        return
    draft = view.draft
    functions = [
        (("train", "function"), draft.train.function if draft.train else None),
        (
            ("transform", "python", "function"),
            draft.transform.python.function if draft.transform and draft.transform.python else None,
        ),
        (
            ("transform", "beam", "function"),
            draft.transform.beam.function if draft.transform and draft.transform.beam else None,
        ),
    ]
    for path, function in functions:
        if function:
            yield from function_problem(view.root, function, view.at(*path))
    if draft.transform and draft.transform.spark:
        yield from job_problem(view.root, draft.transform.spark.job, view.at("transform", "spark", "job"))
    for name, source in draft.sources.items():
        if source.kafka and source.kafka.schema_file:
            yield from schema_problem(
                view.root, source.kafka.schema_file, view.at("sources", name, "kafka", "schema_file")
            )

"""What the documentation tells people to type exists, its YAML is valid and its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.docs.pages import ROOT, anchors, fences, name, pages, spans, without_code

from tradewind.cli import app
from tradewind.spec import load_text

SHELLS = {"", "sh", "bash", "shell", "console"}
#: Commands of several, which a table may name without `tradewind` before them.
GROUPS = {"dev", "lake", "model", "deploy"}
CHEAP = {"validate", "plan", "schema"}
#: A file of this repository, which a page names in code and without a link.
NAMED = re.compile(r"(?:tests|plugins|profiles|include/tradewind_runtime)/[\w./-]+")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def lines(text: str) -> Iterator[str]:
    """What a page tells people to type: lines of its shell blocks, and code in the text."""
    for language, body in fences(text):
        if language in SHELLS:
            yield from re.sub(r"\\\n\s*", "", body).splitlines()
    yield from spans(text)


def words(line: str) -> list[str]:
    """A line that begins with `tradewind`, as its arguments: optional ones are taken as given, a pipe ends them."""
    first, _, rest = line.strip().removeprefix("$ ").partition(" ")
    if first.rpartition("/")[2] != "tradewind":
        if first not in GROUPS or not re.match(r"[a-z]+( |$)", rest):
            return []
        rest = f"{first} {rest}"
    found = []
    for word in shlex.split(rest, comments=True):
        if word in {"|", "&&", ";", ">", "&", "||"}:
            break
        if (bare := word.strip("[]")) != "…":
            found.append(bare)
    return found


@lru_cache(maxsize=1)
def documented() -> list[tuple[str, ...]]:
    found = [(name(page), *made) for page in pages() for line in lines(page.read_text()) if (made := words(line))]
    return list(dict.fromkeys(found))


def wrong(typed: list[str]) -> str | None:
    """Why the command line would not take this, as far as its names and options go."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("tradewind", [], resilient_parsing=True)
    rest = list(typed)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        called = rest.pop(0)
        if called not in command.commands:
            return f"{called!r} is none of {', '.join(command.commands)}"
        command = command.resolve_command(context, [called])[1]
        context = command.make_context(called, [], parent=context, resilient_parsing=True)
    return _wrong_parameters(command.get_params(context), rest)


def _wrong_parameters(parameters: list[Any], rest: list[str]) -> str | None:
    options = {
        name: one for one in parameters if one.param_type_name == "option" for name in (*one.opts, *one.secondary_opts)
    }
    sizes = [one.nargs for one in parameters if one.param_type_name == "argument"]
    arguments = 0
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if not word.startswith("-"):
            arguments += 1
            continue
        if word not in options:
            return f"{word!r} is none of {', '.join(options)}"
        option = options[word]
        wanted = 0 if getattr(option, "is_flag", False) else option.nargs
        values = [value] if equals else [rest.pop(0) for _ in range(min(wanted, len(rest)))]
        if len(values) != wanted or any(one.startswith("-") for one in values):
            return f"{word} wants {wanted} values"
    if -1 not in sizes and arguments > sum(sizes):
        return f"{arguments} arguments where {sum(sizes)} are taken"
    return None


@pytest.mark.parametrize("command", documented(), ids=" ".join)
def test_every_command_can_be_typed(command: tuple[str, ...]) -> None:
    assert wrong(list(command[1:])) is None


@pytest.mark.parametrize(
    "typed",
    [
        "deploi status",
        "dev restart",
        "lake show flights --rows 3",
        "run a.yaml --window 2013-01-01",
        "dev status --format",
        "doctor now",
        "lake show one two",
    ],
)
def test_a_command_that_cannot_be_typed_is_found(typed: str) -> None:
    assert wrong(typed.split())


@pytest.mark.parametrize(
    "typed",
    ["run a.yaml --window 2013-01-01 2013-04-01 -p rounds=3", "dev logs kafka -f", "validate a b c", "dev", "--help"],
)
def test_a_command_that_can_be_typed_is_taken(typed: str) -> None:
    assert wrong(typed.split()) is None


def test_commands_are_collected() -> None:
    text = (
        "`tradewind lake ls` and `dev up [--only s3]`\n```sh\n.venv/bin/tradewind run a.yaml \\\n  -p x=1  # now\n```\n"
    )
    assert [words(line) for line in lines(text)] == [
        ["run", "a.yaml", "-p", "x=1"],
        ["lake", "ls"],
        ["dev", "up", "--only", "s3"],
    ]
    assert {command[1] for command in documented()} >= {"validate", "plan", "run", "dev", "lake", "model", "deploy"}


def cheap() -> list[tuple[str, ...]]:
    """Commands that need no server, on files that there are; the schema's always."""
    found = [command[1:] for command in documented() if command[1] in CHEAP and "--out" not in command]
    there = [made for made in found if all((ROOT / word).exists() for word in made[1:] if not word.startswith("-"))]
    return [made for made in dict.fromkeys([*there, ("schema",)]) if len(made) > 1 or made[0] == "schema"]


@pytest.mark.parametrize("command", cheap(), ids=" ".join)
def test_cheap_ones_run(command: tuple[str, ...]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRADEWIND", "AIRFLOW"))}
    done = subprocess.run(
        [sys.executable, "-m", "tradewind.cli", *command],
        cwd=ROOT, env=kept, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if command == ("schema",):
        assert done.stdout == (ROOT / "docs/reference/pipeline.schema.json").read_text()


def test_cheap_ones_are_there() -> None:
    assert {command[0] for command in cheap()} == CHEAP


@lru_cache(maxsize=1)
def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_target_is_in_the_makefile(page: Path) -> None:
    named = [match[1] for line in lines(page.read_text()) if (match := re.match(r"(?:\$ )?make ([a-z][a-z-]*)", line))]
    assert set(named) <= targets()


def examples() -> list[tuple[Path, str]]:
    """Blocks of YAML that are a whole pipeline; others are a piece of one, or of something else."""
    found = [(page, body) for page in pages() for kind, body in fences(page.read_text()) if kind in {"yaml", "yml"}]
    return [(page, body) for page, body in found if re.search(r"^version: 1$(?s:.*)^pipeline:", body, re.MULTILINE)]


@pytest.mark.parametrize(("page", "body"), examples())
def test_every_pipeline_is_valid(page: Path, body: str) -> None:
    """The code that it names need not be in this project."""
    load_text(body, name(page))


def test_pipelines_are_found() -> None:
    assert name(examples()[0][0]) == "README.md"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(without_code(page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = [span for span in spans(page.read_text()) if NAMED.fullmatch(span)]
    assert [one for one in named if not (ROOT / one).exists()] == []

"""The pages of docs/failures: a page for each kind of step, each code once, and no message that nobody says."""

from __future__ import annotations

import ast
import pkgutil
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from tests.docs.pages import DOCS, FAILURES, ROOT, name, pages, rows, site, spans

from tradewind_runtime import steps

CODE = re.compile(r"\bTW\d{3}\b")
HEAD = "| code | what you see | why | what to do |"
PARTS = ["## Killed", "## Doing it again", "## Where to look"]
INDEX = FAILURES / "index.md"
PAGES = sorted(page for page in FAILURES.glob("*.md") if page != INDEX)
#: Where a code is told: in the first cell of a row. Other pages may speak of it.
TOLD = [*PAGES, DOCS / "reference/errors.md", DOCS / "guides/stack.md"]
#: Their message is somebody else's: a Python error's, or the one of a YAML's reader.
OTHERS = {"TW303", "TW500"}
LETTERS = 6  # fewer of a message's own prove nothing


@dataclass(frozen=True)
class Message:
    """A text of the sources: what stands in it, None for what is filled in."""

    parts: tuple[str | None, ...]

    @property
    def says(self) -> bool:
        return sum(letter.isalnum() for part in self.parts if part for letter in part) >= LETTERS

    def match(self, text: str) -> re.Match[str] | None:
        pattern = "".join("(.*)" if part is None else re.escape(part) for part in self.parts)
        return re.fullmatch(pattern, text)

    @property
    def open(self) -> bool:
        """Whether it ends with what is filled in."""
        return self.parts[-1] is None


@lru_cache(maxsize=1)
def sources() -> dict[Path, ast.Module]:
    folders = (ROOT / "include/tradewind_runtime", ROOT / "plugins/tradewind")
    return {path: ast.parse(path.read_text()) for folder in folders for path in sorted(folder.rglob("*.py"))}


def codes_of(tree: ast.Module) -> set[str]:
    """Codes that a module can give: texts that are one, or a message that begins with one. Not those of docstrings."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {match[1] for text in texts if (match := re.match(r"(TW\d{3})(?:$|: )", text))}


@lru_cache(maxsize=1)
def codes() -> frozenset[str]:
    return frozenset(code for tree in sources().values() for code in codes_of(tree))


def message(node: ast.AST) -> list[str | None]:
    match node:
        case ast.Constant(value=str(text)):
            return [re.sub(r"^TW\d{3}: ", "", text)]
        case ast.JoinedStr(values=values):
            return [part for value in values for part in message(value)]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [*message(left), *message(right)]
    return [None]


@lru_cache(maxsize=1)
def messages() -> dict[Path, list[Message]]:
    found = {}
    for path, tree in sources().items():
        texts = (ast.Constant, ast.JoinedStr, ast.BinOp)
        made = [Message(tuple(message(node))) for node in ast.walk(tree) if isinstance(node, texts)]
        found[path] = [one for one in made if one.says]
    return found


def said(text: str, code: str | None) -> bool:
    """Whether a message is one of the sources', of a module that knows the code; also what is filled in at its end."""
    for path, known in messages().items():
        if code is not None and code not in path.read_text():
            continue
        for one in known:
            if (match := one.match(text)) is not None:
                rest = match[match.lastindex] if one.open and match.lastindex else ""
                if len(rest.split()) < 4 or said(rest, None):
                    return True
    return False


def told(page: Path) -> list[str]:
    return [code for row in rows(page.read_text()) for code in CODE.findall(row[0])]


def documented() -> list[tuple[str, str | None, str]]:
    found = [(page.stem, row) for page in PAGES for row in rows(page.read_text())]
    return [(page, next(iter(CODE.findall(row[0])), None), text) for page, row in found for text in spans(row[1])]


def kinds() -> set[str]:
    """Modules of the runtime, and the steps that the profile of a cluster leaves to Airflow's own workers."""
    profile = yaml.safe_load((ROOT / "profiles/cluster.yaml").read_text())
    return {module.name for module in pkgutil.iter_modules(steps.__path__)} | set(profile["runners"])


def expanded(text: str) -> set[str]:
    """`TW522 to TW527, TW530`, as far as there are such codes."""
    found = set(CODE.findall(text))
    for first, last in re.findall(r"TW(\d{3}) to TW(\d{3})", text):
        found |= {f"TW{number}" for number in range(int(first), int(last) + 1)} & codes()
    return found


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_every_kind_of_step_has_a_page(kind: str) -> None:
    titles = [page.read_text().splitlines()[0] for page in PAGES]
    assert (FAILURES / f"{kind}.md") in PAGES or any(f"`{kind}`" in title for title in titles)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_have_one_form(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert 25 <= len(lines) <= 60
    assert HEAD in lines
    assert [line for line in lines if line.startswith("## ")] == PARTS
    assert {len(row) for row in rows(page.read_text())} == {4}


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_code_is_told_on_one_page(code: str) -> None:
    assert len([name(page) for page in TOLD if code in told(page)]) == 1


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_code_of_a_page_exists(page: Path) -> None:
    assert set(CODE.findall(page.read_text())) <= codes()


@pytest.mark.parametrize(("page", "code", "text"), documented())
def test_every_message_is_one_that_is_said(page: str, code: str | None, text: str) -> None:
    assert said(text, code)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("TW523", "812 of 9000 rows of 'flights' cannot be found"),
        ("TW522", "812 of 9000 rows of 'flights' cannot be read"[::-1]),
        ("TW540", "812 of 9000 rows of 'flights' cannot be read"),
        ("TW547", "the transform's result has no idea of what it is"),
        (None, "the server is tired"),
    ],
)
def test_a_message_that_nobody_says_is_found(code: str | None, text: str) -> None:
    assert not said(text, code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_rows_with_a_code_show_its_message(page: Path) -> None:
    silent = [row[0] for row in rows(page.read_text()) if not spans(row[1])]
    assert set(silent) <= OTHERS


def test_the_overview_leads_to_every_page_and_names_its_codes() -> None:
    text = INDEX.read_text()
    listed = {page.name: set[str]() for page in PAGES}
    for _, link, numbers in (row for row in rows(text) if ".md)" in row[1]):
        target = re.findall(r"\(([a-z-]+\.md)\)", link)
        listed[target[0]] |= expanded(numbers)
    for target, numbers in re.findall(r"\(([a-z-]+\.md)\)\s\((TW[^)]+)\)", " ".join(text.split())):
        listed[target] |= expanded(numbers)
    assert listed == {page.name: set(told(page)) for page in PAGES}


def test_the_site_has_every_page() -> None:
    nav = re.findall(r"failures/[a-z-]+\.md", str(site()["nav"]))
    assert sorted(nav) == sorted(f"failures/{page.name}" for page in FAILURES.glob("*.md"))

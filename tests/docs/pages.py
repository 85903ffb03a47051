"""The documentation as a reader has it: pages, code in fences, code in the text, rows of tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FAILURES = DOCS / "failures"
_FENCE = re.compile(r"^[ ]*```(\w*)[^\n]*\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


def site() -> dict[str, object]:
    """The site's settings."""
    found: dict[str, object] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    return found


def pages() -> list[Path]:
    """The readme and all pages of the site."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def name(page: Path) -> str:
    """How a page is called in a test's name."""
    return page.relative_to(ROOT).as_posix()


def fences(text: str) -> Iterator[tuple[str, str]]:
    """Language and body of each block of code."""
    for match in _FENCE.finditer(text):
        yield match[1], match[2]


def spans(text: str) -> list[str]:
    """Code within the text."""
    return [" ".join(match[2].split()) for match in _SPAN.finditer(prose(text))]


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", text)


def without_code(text: str) -> str:
    """A page's words alone: what is code is no link."""
    return _SPAN.sub("code", prose(text))


def rows(text: str) -> list[list[str]]:
    """Cells of the rows of all tables, headings left out."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        ruled = number + 1 < len(lines) and re.match(r"\|[ :|-]+\|$", lines[number + 1])
        if line.startswith("|") and not ruled and not re.match(r"\|[ :|-]+\|$", line):
            found.append([cell.strip() for cell in line.strip().strip("|").split(" | ")])
    return found


def anchors(text: str) -> set[str]:
    """Where a link into a page may point."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    slugs = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))

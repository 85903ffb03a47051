"""Which commit a project's files are of, as Git tells it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_of(project: Path, *folders: str) -> str:
    """The commit that is checked out, with `-dirty` where files of these folders differ from it.

    Empty where the project is in no Git repository, has no commit yet, or there is no `git`.
    """
    if not (commit := _git(project, "rev-parse", "HEAD")):
        return ""
    there = [name for name in folders if (project / name).exists()]
    return f"{commit}-dirty" if _git(project, "status", "--porcelain", "--", *there) else commit


def history_of(project: Path) -> Path | None:
    """The file that grows with every commit and checkout."""
    path = _git(project, "rev-parse", "--git-path", "logs/HEAD")
    return project / path if path else None


def _git(project: Path, *words: str) -> str:
    """What Git says; nothing where it does not know."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(project), *words],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

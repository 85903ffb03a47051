"""Where downloads and made-up tools are kept: the user's cache, or `.cache` where the home is read-only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder (made itself where it is missing); asked by trying."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def folder() -> Path:
    """TRADEWIND_CACHE, else `tradewind` in the user's cache, else `.cache` of the project."""
    if named := os.environ.get("TRADEWIND_CACHE"):
        return Path(named)
    home = Path(os.path.expanduser("~"))  # Path.home() raises where there is none
    user = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tradewind"
    if writable(user):
        return user
    return _project() / ".cache"


def _project() -> Path:
    if named := os.environ.get("TRADEWIND_PROJECT"):
        return Path(named)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "profiles").is_dir()), here)

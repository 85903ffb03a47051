"""requirements.txt is what uv.lock says for Airflow and the steps. Needs no uv: it reads both."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
EXTRAS = ("airflow", "steps")
AGAIN = "requirements.txt is not what uv.lock says: run the command in its head"
MACHINES = [
    {"python_full_version": python, "python_version": python.rpartition(".")[0], "sys_platform": platform,
     "platform_system": platform.capitalize(), "platform_machine": machine}
    for python in ("3.11.9", "3.12.5", "3.13.1")
    for platform, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]  # fmt: skip


def holds(marker: str | None, machine: dict[str, str]) -> bool:
    """Whether a marker of the lock is true on a machine, for our two extras."""
    if not marker:
        return True

    def settled(match: re.Match[str]) -> str:
        ours = match[2] in EXTRAS
        return "python_version >= '0'" if ours == (match[1] == "==") else "python_version < '0'"

    text = re.sub(r"extra (==|!=) 'extra-\d+-tradewind-(\w+)'", settled, marker)
    return Marker(text).evaluate(machine)


def locked(machine: dict[str, str]) -> set[tuple[str, str]]:
    """Name and version of all that the two extras bring on a machine, walked from the project."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        packages.setdefault(package["name"], []).append(package)
    (project,) = packages["tradewind"]
    todo = [*project["dependencies"], *(item for extra in EXTRAS for item in project["optional-dependencies"][extra])]
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    while todo:
        wanted = todo.pop()
        if not holds(wanted.get("marker"), machine):
            continue
        extras = tuple(wanted.get("extra", ()))
        for package in packages[wanted["name"]]:
            key = (package["name"], package["version"], extras)
            if key in seen or wanted.get("version", package["version"]) != package["version"]:
                continue
            seen.add(key)
            todo += package.get("dependencies", [])
            todo += [item for extra in extras for item in package.get("optional-dependencies", {}).get(extra, [])]
    return {(name, version) for name, version, _ in seen}


def exported(machine: dict[str, str]) -> set[tuple[str, str]]:
    """What pip would install from the file on a machine."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    kept = (one for one in found if one.marker is None or one.marker.evaluate(machine))
    return {(canonicalize_name(one.name), str(one.specifier).removeprefix("==")) for one in kept}


@pytest.mark.parametrize(
    "machine", MACHINES, ids=lambda m: "-".join(m[k] for k in ("python_version", "sys_platform", "platform_machine"))
)
def test_requirements_are_those_of_the_lock(machine):
    lock, file = locked(machine), exported(machine)
    assert sorted(file - lock) == [], AGAIN
    assert sorted(lock - file) == [], AGAIN


def test_requirements_name_no_registry():
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    assert "-index" not in text

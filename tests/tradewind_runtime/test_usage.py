"""A step's use of its machine: measured beside it, kept fresh in the lake, there after a kill, and never in the way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tradewind_runtime import nvml, usage
from tradewind_runtime.contract.usage import Usage
from tradewind_runtime.documents import Documents
from tradewind_runtime.gauges import Reading, gauge

MIB = 1 << 20
PATH = "runs/p/r/requests/train-0.usage.json"


@pytest.fixture
def lake(tmp_path: Path) -> Documents:
    return Documents(f"file://{tmp_path}/a lake")


class Machine:
    """Readings one after another."""

    def __init__(self, *readings: Reading) -> None:
        self.readings = list(readings)

    def limits(self) -> tuple[float | None, int | None]:
        return 2.0, 1000

    def read(self) -> Reading:
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


class Card:
    """A GPU that is at work every other time."""

    name = "H100 80GB HBM3"

    def __init__(self) -> None:
        self.percent = [0, 100] * 100

    def utilisation(self) -> int:
        return self.percent.pop()

    def memory(self) -> tuple[int, int]:
        return 12, 80


def test_what_is_written_is_mean_and_peak(lake: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "EVERY", 0.05)
    monkeypatch.setattr(usage, "GPUS_EVERY", 0.0)
    monkeypatch.setattr(nvml, "gpus", lambda: (Card(),))
    machine = Machine(Reading(0, 100), Reading(0.1, 900), Reading(0.1, 200))
    meter = usage.Meter(lake, PATH, machine)
    meter.start()
    time.sleep(0.5)
    meter.stop()
    found = lake.get_model(PATH, Usage)
    assert found is not None
    assert (found.memory_peak, found.memory_limit, found.cpu_limit) == (900, 1000, 2.0)
    assert 0 < found.cpu_mean <= 0.25 < found.cpu_peak
    (card,) = found.gpus
    assert (card.name, card.memory_peak, card.memory_total, card.utilisation_peak) == ("H100 80GB HBM3", 12, 80, 100)
    assert 40 <= (card.utilisation_mean or 0) <= 60


KILLED = f"""
import os, sys, time
from tradewind_runtime.documents import Documents
from tradewind_runtime.usage import measured
with measured(Documents(sys.argv[1]), {PATH!r}, container=False):
    held = b"x" * {300 * MIB}
    time.sleep(2.5)
    os.kill(os.getpid(), 9)
"""


def test_what_was_written_last_is_there_after_a_kill(lake: Documents) -> None:
    subprocess.run([sys.executable, "-c", KILLED, lake.root], check=False)
    found = lake.get_model(PATH, Usage)
    assert found is not None
    assert found.memory_peak > 300 * MIB


def test_a_failing_step_leaves_it_too(lake: Documents) -> None:
    with pytest.raises(ValueError, match="wrong"), usage.measured(lake, PATH, container=False):
        raise ValueError("wrong")
    found = lake.get_model(PATH, Usage)
    assert found is not None
    assert found.memory_peak > MIB


class Broken(Documents):
    def put(self, path: str, content: bytes) -> None:
        raise OSError(f"the store is away: {path}, {len(content)}")


def test_a_store_that_is_away_fails_nothing(tmp_path: Path) -> None:
    done = []
    with usage.measured(Broken(f"file://{tmp_path}"), PATH, container=False):
        done.append(True)
    assert done


def test_what_cannot_be_measured_fails_nothing(lake: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "gauge", lambda **_: Machine())
    with usage.measured(lake, PATH, container=True):
        pass
    assert lake.get(PATH) is None


def test_measuring_takes_next_to_nothing(lake: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "EVERY", 0.1)
    meter = usage.Meter(lake, PATH, gauge(container=False))
    began = time.process_time()
    meter.start()
    time.sleep(2)
    meter.stop()
    assert time.process_time() - began < 0.2

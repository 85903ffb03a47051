"""Runs of one plan after each other, step by step: what a later one adopts, and what it looks at anew."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.tradewind.plan.small import plan
from tests.tradewind_runtime.tables import numbers

from tradewind.plan.model import Plan
from tradewind.plan.request import Run
from tradewind.profile import Profile
from tradewind_runtime.contract.refs import DatasetRef, Window
from tradewind_runtime.contract.request import StepResult
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake
from tradewind_runtime.maintenance import compact

KINDS = ("pin", "ingest", "check", "transform")


class House:
    """A pipeline of the files in a folder."""

    def __init__(self, root: Path, **source: Any) -> None:
        self.landing = root / "landing"
        self.landing.mkdir(parents=True)
        self.lake = Lake((root / "a lake").as_uri())
        uri = f"{self.landing.as_uri()}/*.csv"
        profile = Profile.model_validate({"profile": "local", "lake": {"uri": self.lake.root}})
        self.plan: Plan = plan(profile, sources={"rows": {"objects": {"uri": uri, **source}}})
        self.now = datetime(2024, 1, 2, tzinfo=UTC)

    def write(self, name: str, *values: int, at: int = 0) -> None:
        path = self.landing / name
        path.write_text("\n".join(["n", *map(str, values)]) + "\n")
        if at:
            os.utime(path, (at, at))

    def run(self, name: str, *, backfill: bool = False) -> dict[str, StepResult]:
        run, found = Run(self.plan, "train", name, self.lake.documents), {}
        window = Window(start=self.now - timedelta(days=1), end=self.now)
        for step in self.plan.dag("train").steps:
            if step.kind in KINDS:
                found[step.kind] = self.step(run, step.id, window, backfill=backfill)
        return found

    def step(self, run: Run, id: str, window: Window, *, backfill: bool = False) -> StepResult:
        step = next(one for one in self.plan.dag("train").steps if one.id == id)
        config = {"backfill": True} if backfill and step.kind == "pin" else {}
        request = run.request(step, window=window if step.kind == "pin" else None, config=config)
        result = execute(request)
        run.record(request)
        return result

    def rows(self, result: StepResult, name: str = "rows") -> list[int]:
        ref = result.outputs[name]
        assert isinstance(ref, DatasetRef)
        return numbers(self.lake.table(ref.table), ref.version)


def test_a_backfill_sees_all_that_was_ingested_before_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write("a.csv", 1)
    house.run("r1")
    assert house.rows(house.run("b1", backfill=True)["check"]) == [1]
    house.write("b.csv", 2)
    house.run("r2")
    found = house.run("b2", backfill=True)
    assert house.rows(found["ingest"]) == house.rows(found["check"]) == [1, 2]
    assert house.rows(found["transform"], "features") == [1, 2]


def test_an_object_that_is_what_it_once_was_is_read_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    for run, value in enumerate((1, 2, 1)):
        house.write("a.csv", value, at=100 + value)
        assert house.rows(house.run(f"r{run}")["transform"], "features") == [value]


def test_a_landing_folder_may_be_emptied(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write("a.csv", 1, 2)
    house.run("r1")
    (house.landing / "a.csv").unlink()
    assert house.rows(house.run("r2")["transform"], "features") == [1, 2]


def test_where_nothing_has_changed_nothing_is_computed_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write("a.csv", 1)
    first, second = house.run("r1"), house.run("r2")
    assert (second["check"], second["transform"]) == (first["check"], first["transform"])
    assert second["ingest"].outputs == first["ingest"].outputs


def test_upkeep_has_nothing_computed_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    for run in ("r1", "r2"):
        house.write(f"{run}.csv", int(run[1]))
        before = house.run(run)
    assert compact(house.lake, "p/rows_raw").files == 2
    after = house.run("r3")
    assert (after["check"], after["transform"]) == (before["check"], before["transform"])


def test_an_older_run_that_is_done_again_puts_no_older_object_back(tmp_path: Path) -> None:
    house = House(tmp_path, mode="replace")
    house.write("1.csv", 1, at=100)
    window = Window(start=house.now - timedelta(days=1), end=house.now)
    old = Run(house.plan, "train", "r1", house.lake.documents)
    house.step(old, "pin", window)  # and no further
    house.write("2.csv", 2, at=200)
    assert house.rows(house.run("r2")["check"]) == [2]
    assert house.rows(house.step(old, "ingest_rows", window)) == [2]
    assert house.rows(house.run("r3")["check"]) == [2]
    (house.landing / "2.csv").unlink()
    assert house.rows(house.run("r4")["check"]) == [1], "by a later run, what is the newest by now"

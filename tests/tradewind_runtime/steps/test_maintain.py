"""The step that keeps a pipeline's tables in order, and no other pipeline's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pyarrow as pa
import pytest
from tests.tradewind_runtime.tables import SCHEMA, batches, numbers

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.maintenance import MaintainConfig, Maintenance
from tradewind_runtime.contract.request import StepRequest, StepResult
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake, Table


def maintained(lake: str, run: str = "r1", **block: object) -> StepResult:
    config = MaintainConfig(maintenance=Maintenance.model_validate(block))
    return execute(
        StepRequest(
            step="maintain", id="maintain", pipeline="p", run_id=run, lake=lake, refresh=run,
            config=config.model_dump(mode="json"),
        )
    )  # fmt: skip


@pytest.fixture
def lake(lake_uri: str, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Three small files each in a table of this pipeline and in one of another whose name begins like it."""
    monkeypatch.setattr("tradewind_runtime.lake.YOUNGEST", 0)
    found = Lake(lake_uri)
    for name in ("p/t", "p2/t"):
        for n in range(3):
            found.table(name).commit(found.table(name).stage(batches((0, n)), SCHEMA), schema=SCHEMA)
    return found


def test_small_files_are_put_together_and_again_is_harmless(lake: Lake, lake_uri: str) -> None:
    done = maintained(lake_uri)
    assert done.metrics == {"tables": 1, "expired_rows": 0, "compacted_files": 3, "deleted_files": 0}
    assert len(lake.table("p/t").snapshot().files) == 1
    assert len(lake.table("p2/t").snapshot().files) == 3
    assert numbers(lake.table("p/t")) == [0, 1, 2]
    assert maintained(lake_uri, "r2").metrics["compacted_files"] == 0


def test_a_table_that_another_program_has_written_to_stops_the_upkeep_of_no_other(lake: Lake, lake_uri: str) -> None:
    other = lake.table("p/a")
    other.commit(other.stage(batches((0, 1)), SCHEMA), schema=SCHEMA)
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    protocol = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}
    (Path(other.uri) / f"_delta_log/{2:020}.json").write_text(json.dumps(protocol))
    with pytest.raises(StepError, match=r"TW536: table 'p/a'"):
        maintained(lake_uri)
    assert len(lake.table("p/t").snapshot().files) == 1, "which comes after it"


def test_old_versions_go_and_what_a_model_stands_on_stays(lake: Lake, lake_uri: str, monkeypatch) -> None:
    lake.documents.put("runs/p/r0/results/register", b"results/register/x.json")
    lake.documents.put("runs/p/r0/pins.json", b'{"tables": {"p/t": 2}}')
    maintained(lake_uri)
    monkeypatch.setattr("tradewind_runtime.contract.maintenance.LEAST", Maintenance().keep * 0)
    done = maintained(lake_uri, "r2", keep="0s", compact=False)
    assert done.metrics == {"tables": 1, "expired_rows": 0, "compacted_files": 0, "deleted_files": 1}
    assert done.facts == {"pinned": {"p/t": [2]}}
    assert numbers(lake.table("p/t"), 2) == [0, 1]
    assert numbers(lake.table("p/t")) == [0, 1, 2]


def test_versions_of_yesterday_cannot_go() -> None:
    with pytest.raises(ValueError, match="at least 2d"):
        Maintenance.model_validate({"keep": "1d"})


def days_ago(*days: float) -> list[datetime]:
    now = datetime.now(UTC)
    return [now - timedelta(days=one) for one in days]


def aged(lake: Lake, name: str, *days: float) -> None:
    """A row of each of these ages, its number its age, in a file of its own."""
    table = lake.table(name)
    for day, time in zip(days, days_ago(*days), strict=True):
        rows = pa.table({"time": [time], "n": [int(day)]}, schema=SCHEMA)
        table.commit(table.stage(rows.to_batches(), SCHEMA), schema=SCHEMA)


RETAIN = {"kept": {"rows": "90d", "by": "time"}, "short": {"rows": "7d", "by": "time"}}


def test_rows_go_by_what_each_table_keeps(lake: Lake, lake_uri: str) -> None:
    for name in ("p/kept", "p/short", "p/other", "p2/short"):
        aged(lake, name, 1, 30, 100)
    done = maintained(lake_uri, retain=RETAIN)
    assert done.metrics["expired_rows"] == 3
    kept = {name: numbers(lake.table(name)) for name in lake.tables()}
    assert kept["p/kept"] == [1, 30]
    assert kept["p/short"] == [1]
    assert kept["p/other"] == kept["p2/short"] == [1, 30, 100]
    assert maintained(lake_uri, "r2", retain=RETAIN).metrics["expired_rows"] == 0


def test_a_table_that_is_not_there_yet_is_passed_over(lake: Lake, lake_uri: str) -> None:
    assert maintained(lake_uri, retain=RETAIN).metrics["expired_rows"] == 0


def test_a_table_that_cannot_say_how_old_its_rows_are_holds_nothing_else_back(lake: Lake, lake_uri: str) -> None:
    aged(lake, "p/short", 1, 30)
    retain = {"t": {"rows": "7d", "by": "n"}, **RETAIN}
    with pytest.raises(StepError, match="TW534"):
        maintained(lake_uri, retain=retain)
    assert numbers(lake.table("p/short")) == [1]
    assert numbers(lake.table("p/t")) == [0, 1, 2]
    assert len(lake.table("p/t").snapshot().files) == 1, "and it is put in order all the same"


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_killed_attempt_and_another_take_what_one_takes(
    lake: Lake, lake_uri: str, monkeypatch: pytest.MonkeyPatch, where: str, calls: int
) -> None:
    """Killed around each commit, and tried again when a row has become too old meanwhile."""
    for name in ("p/kept", "p/short"):
        aged(lake, name, 1, 6.999, 100)
    rewrite, count = Table.rewrite, 0

    def dying(self: Table, choose: object) -> object:
        nonlocal count
        count += 1
        if where == "before" and count == calls:
            raise KeyboardInterrupt
        done = rewrite(self, choose)  # type: ignore[arg-type]
        if where == "after" and count == calls:
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Table, "rewrite", dying)
        with pytest.raises(KeyboardInterrupt):
            maintained(lake_uri, retain=RETAIN)
    with monkeypatch.context() as patch:
        patch.setattr("tradewind_runtime.steps.maintain.datetime", Tomorrow)
        maintained(lake_uri, retain=RETAIN)
    assert numbers(lake.table("p/kept")) == numbers(lake.table("p/short")) == [1, 6]


class Tomorrow(datetime):
    """The clock of an attempt that comes a day later."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=1)


def test_rows_of_today_cannot_go() -> None:
    with pytest.raises(ValueError, match="at least 1d"):
        Maintenance.model_validate({"retain": {"t": "1h"}})


def test_the_short_form() -> None:
    block = Maintenance.model_validate({"retain": {"t": "90d", "u": {"rows": "1w", "by": "c"}}}).retain
    assert (block["t"].rows, block["t"].by, block["u"].by) == (timedelta(days=90), None, "c")

"""The closing table is red where the story is not as promised: on a real lake and a real Slack receiver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.servers.slack import receiver
from tests.tradewind.demo.fake_airflow import FakeAirflow, fake_airflow
from tests.tradewind_runtime.tables import ingested

from tradewind.demo.airflow import Airflow
from tradewind.demo.closing import STAGES, Closing
from tradewind.demo.data import Given
from tradewind.demo.lines import Line, collect
from tradewind.demo.story import MONITOR, PIPELINE, ROLLOUT
from tradewind.demo.traffic import Traffic
from tradewind_runtime.connections import Connection
from tradewind_runtime.contract import messages
from tradewind_runtime.endpoints import moves
from tradewind_runtime.lake import Lake
from tradewind_runtime.slack import send

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def lake(lake_uri: str) -> Lake:
    return Lake(lake_uri)


@pytest.fixture
def said() -> Iterator[FakeAirflow]:
    with fake_airflow() as fake:
        yield fake


def closing(said: FakeAirflow, lake: Lake, *, slack: str = "", **given: Given) -> Closing:
    airflow = Airflow(said.url, "u", "p")
    return Closing(airflow, lake, Traffic(lake, "", PIPELINE), mlflow="", slack=slack, given=lambda: given)


def by_name(lines: Iterator[Line]) -> dict[str, Line]:
    return {line.what: line for line in lines}


def rolled_out(lake: Lake, digest: str, run: str, *weights: int, back: str = "") -> None:
    """What a run of the rollout does to the endpoint."""
    by = f"{ROLLOUT}/{run}"
    for weight in weights:
        moves.promote(
            lake.documents, PIPELINE, digest, expected=number(lake), by=by, reason=f"{weight} %", weight=weight
        )
    if back:
        moves.abort_canary(lake.documents, PIPELINE, expected=number(lake), by=by, reason=back)


def number(lake: Lake) -> int:
    return len(list(lake.documents.names(f"endpoints/{PIPELINE}/generations")))


# Nothing lost ---------------------------------------------------------------------------------------------------


def test_what_was_produced_is_in_the_lake(said: FakeAirflow, lake: Lake) -> None:
    ingested(lake, "flights-0", [0, 1, 3], name=f"{PIPELINE}/flights", committed=5, refused=[2])
    found = by_name(closing(said, lake, flights=Given(3, broken=1))._given())
    assert all(line.ok for line in found.values())
    assert found["flights: nothing lost"].answer == "given 3 and 1 broken; found 3 and 1 quarantined"


@pytest.mark.parametrize("given", [Given(4, broken=1), Given(2, broken=1), Given(3, broken=2), Given(3)])
def test_a_row_that_is_lost_or_too_many_turns_the_table_red(said: FakeAirflow, lake: Lake, given: Given) -> None:
    ingested(lake, "flights-0", [0, 1, 3], name=f"{PIPELINE}/flights", committed=5, refused=[2])
    found = by_name(closing(said, lake, flights=given)._given())
    assert not found["flights: nothing lost"].ok
    assert found["flights: each offset or row once"].ok


def test_a_row_that_is_there_twice_is_told_with_its_place(said: FakeAirflow, lake: Lake) -> None:
    ingested(lake, "weather/2013-01.csv", [0, 1, 1], name=f"{PIPELINE}/weather")
    found = by_name(closing(said, lake, weather=Given(3))._given())
    once = found["weather: each offset or row once"]
    assert (once.ok, once.answer) == (False, "1 twice; see weather/2013-01.csv")


def test_a_table_that_is_not_there_is_a_red_line_and_what_was_told_stays(said: FakeAirflow, lake: Lake) -> None:
    ingested(lake, "flights-0", [0], name=f"{PIPELINE}/flights", committed=1)
    lines = collect(closing(said, lake, flights=Given(1), planes=Given(3))._given())
    assert [line.ok for line in lines] == [True, True, False]
    assert lines[-1].what == "the rest"


# Runs -----------------------------------------------------------------------------------------------------------


def test_a_failed_rollout_is_red_unless_it_went_back(said: FakeAirflow, lake: Lake) -> None:
    for dag_id in (PIPELINE, MONITOR):
        said.run(dag_id, "r1")
    rolled_out(lake, OLD, "r1", 100)
    rolled_out(lake, NEW, "r2", 10, 50, back="too many errors")
    said.run(ROLLOUT, "r1")
    said.run(ROLLOUT, "r2", "failed")
    table = closing(said, lake)
    found = by_name(table._runs())
    assert all(line.ok for line in found.values())
    assert found[f"runs of {ROLLOUT}"].kept == {"r1": "success", "r2": "failed"}
    said.run(ROLLOUT, "r3", "failed")
    assert not by_name(table._runs())[f"runs of {ROLLOUT}"].ok


def test_a_failed_run_and_none_at_all_are_red(said: FakeAirflow, lake: Lake) -> None:
    said.run(PIPELINE, "r1", "failed")
    found = by_name(closing(said, lake)._runs())
    assert not found[f"runs of {PIPELINE}"].ok
    assert not found[f"runs of {MONITOR}"].ok


# The challenger -------------------------------------------------------------------------------------------------


def retrained(said: FakeAirflow, *, passed: bool | None) -> None:
    """By drift; None: nothing was trained, and so nothing was judged."""
    said.run(PIPELINE, "drifted", type="asset_triggered")
    said.told[PIPELINE, "drifted", "pin"] = {"facts": {"window": "2013-06"}}
    if passed is not None:
        verdict = {"passed": passed, "reasons": [] if passed else ["roc_auc 0.5 is less than 0.6"]}
        said.told[PIPELINE, "drifted", "evaluate"] = {"verdict": verdict, "facts": {"digest": NEW}}


def test_the_stages_are_those_of_the_pipeline() -> None:
    spec = yaml.safe_load((Path(__file__).parents[3] / "dags/pipelines/flight_delays.yaml").read_text())
    assert tuple(spec["deploy"]["canary"]) == STAGES


def test_a_retraining_without_a_verdict_is_red(said: FakeAirflow, lake: Lake) -> None:
    rolled_out(lake, OLD, "r1", 100)
    retrained(said, passed=None)
    line = by_name(closing(said, lake)._retraining())["the challenger at the gate"]
    assert (line.ok, line.answer) == (False, "nothing was judged")


def test_a_challenger_that_the_gate_refuses_is_shown_as_it_is(said: FakeAirflow, lake: Lake) -> None:
    rolled_out(lake, OLD, "r1", 100)
    retrained(said, passed=False)
    found = by_name(closing(said, lake)._retraining())
    assert all(line.ok for line in found.values())
    assert found["the challenger at the gate"].answer == "refused: roc_auc 0.5 is less than 0.6"


def test_a_run_that_found_the_requests_taken_is_no_retraining(said: FakeAirflow, lake: Lake) -> None:
    rolled_out(lake, OLD, "r1", 100)
    retrained(said, passed=False)
    said.run(PIPELINE, "late", type="asset_triggered")
    assert all(line.ok for line in closing(said, lake)._retraining())


def test_no_retraining_is_red(said: FakeAirflow, lake: Lake) -> None:
    said.run(PIPELINE, "by-hand")
    assert not by_name(closing(said, lake)._retraining())["retraining started by drift"].ok


@pytest.mark.parametrize(
    ("weights", "back", "ok"),
    [
        ((10, 50, 100), "", True),
        ((10,), "too many errors", True),
        ((10, 50), "", False),  # it stands still
        ((100,), "", False),  # no canary
        ((10, 100), "", False),
        ((50,), "too many errors", False),
        ((), "", False),  # it was never rolled out
    ],
)
def test_who_passed_the_gate_comes_stage_by_stage(
    said: FakeAirflow, lake: Lake, weights: tuple[int, ...], back: str, ok: bool
) -> None:
    rolled_out(lake, OLD, "r1", 100)
    retrained(said, passed=True)
    rolled_out(lake, NEW, "r2", *weights, back=back)
    assert by_name(closing(said, lake)._retraining())["how it got there"].ok is ok


def test_how_it_got_there_is_spelt(said: FakeAirflow, lake: Lake) -> None:
    rolled_out(lake, OLD, "r1", 100)
    rolled_out(lake, NEW, "r2", 10, 50, 100)
    line = closing(said, lake)._path([])
    assert line.answer == "aaaaaaaa → aaaaaaaa+bbbbbbbb at 10 % → aaaaaaaa+bbbbbbbb at 50 % → bbbbbbbb"
    assert list(line.kept) == ["1", "2", "3", "4"]


# Messages -------------------------------------------------------------------------------------------------------


@pytest.mark.server
def test_each_champion_and_drift_are_told_and_the_receiver_is_asked(
    said: FakeAirflow, lake: Lake, tmp_path: Path
) -> None:
    rolled_out(lake, OLD, "r1", 100)
    rolled_out(lake, NEW, "r2", 10, 50, 100)
    with receiver(tmp_path / "slack") as slack:
        connection = Connection.parse("slack_default", slack.connection)
        table = closing(said, lake, slack=slack.server.address)

        def tell(event: str, key: str) -> bool:
            send(connection, "#ml-flights", messages.message(f"{event} {key}"), key=key, event=event)
            return table._told().ok

        assert not table._told().ok
        assert not tell("promotion", "v1")
        assert not tell("drift", "w1")
        assert not tell("promotion", "v1")  # again, after a kill: still the first champion alone
        assert tell("promotion", "v2")
        line = table._told()
    assert line.answer == "promotion v1 | drift w1 | promotion v1 | promotion v2"
    assert len(line.kept) == 4

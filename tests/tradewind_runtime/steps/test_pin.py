"""Pins: written once, adopted by whoever comes later, and never "latest" again."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.tradewind_runtime.steprun import ingest

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.pins import PinConfig, Pins
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.sources import ObjectsSource, SampleSource, Source
from tradewind_runtime.endpoints import moves
from tradewind_runtime.execute import execute
from tradewind_runtime.lake import Lake

WINDOW = Window(start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2013, 1, 3, tzinfo=UTC))
IRIS = Source(sample=SampleSource(name="iris"))


def pin(lake, config, *, run="r1", window=WINDOW, **settings):
    request = StepRequest(
        step="pin", id="pin", pipeline="demo", run_id=run, lake=lake, refresh=run, window=window, settings=settings,
        config=config.model_dump(mode="json"),
    )  # fmt: skip
    return execute(request), Lake(lake).documents.get_model(Pins.path("demo", run), Pins)


def test_each_source_is_pinned_where_it_ends(lake_uri, tmp_path):
    for day in ("01", "02", "03"):
        (tmp_path / f"2013-01-{day}.csv").write_text("n\n1\n")
    files = Source(objects=ObjectsSource(uri="{window.date}.csv"))
    result, pins = pin(lake_uri, PinConfig(sources={"iris": IRIS, "files": files}), project=str(tmp_path))
    assert set(pins.sources["files"]) == {"2013-01-01.csv", "2013-01-02.csv"}
    assert set(pins.sources["iris"]) == {"iris"}
    assert pins.window == WINDOW
    assert result.facts["pins"]["run_id"] == "r1"
    assert result.verdict.passed


def test_a_run_keeps_its_pins_whatever_it_is_asked_again(lake_uri, tmp_path):
    files = Source(objects=ObjectsSource(uri="*.csv"))
    (tmp_path / "a.csv").write_text("n\n1\n")
    _, first = pin(lake_uri, PinConfig(sources={"files": files}), project=str(tmp_path))
    (tmp_path / "b.csv").write_text("n\n1\n")
    _, again = pin(lake_uri, PinConfig(sources={"files": files}, requests=("x",)), project=str(tmp_path))
    assert again == first
    _, other = pin(lake_uri, PinConfig(sources={"files": files}), run="r2", project=str(tmp_path))
    assert set(other.sources["files"]) == {"a.csv", "b.csv"}


def test_a_backfill_consumes_nothing(lake_uri):
    ingest(lake_uri, IRIS, {"iris": "1"})
    result, pins = pin(lake_uri, PinConfig(sources={"flights": IRIS}, backfill=True))
    assert pins.sources == {"flights": None}
    assert not result.verdict.passed  # and trains nothing
    assert ingest(lake_uri, IRIS, pins.sources["flights"], run="r2").metrics["rows"] == 0


def test_tables_generation_and_requests_are_noted(lake_uri):
    version = ingest(lake_uri, IRIS, {"iris": "1"}).outputs["rows"].version
    moves.advance(Lake(lake_uri).documents, "iris", 0, stable="a" * 64, by="test", reason="first")
    config = PinConfig(tables=("demo/flights_raw",), endpoint="iris", requests=("iris-x-y",), train="asked")
    result, pins = pin(lake_uri, config)
    assert pins.tables == {"demo/flights_raw": version}
    assert pins.generation == 1
    assert pins.requests == ("iris-x-y",)
    assert result.verdict.passed


def test_a_run_that_trains_when_asked_trains_without_a_champion(lake_uri, monkeypatch):
    import tradewind_runtime.registries

    class Fake:  # the registry's own tests try the real one
        def champion(self, uri, model):  # noqa: ARG002
            return found

    monkeypatch.setattr(tradewind_runtime.registries, "registry", lambda _name: Fake())
    found = None
    config = PinConfig(model="m", train="asked")
    assert pin(lake_uri, config, mlflow_uri="sqlite://")[0].verdict.passed
    found = ("b" * 64, "3")
    result, pins = pin(lake_uri, config, run="r2", mlflow_uri="sqlite://")
    assert (pins.champion, pins.champion_version) == found
    assert not result.verdict.passed
    asked = config.model_copy(update={"asked": True})
    assert pin(lake_uri, asked, run="r2", mlflow_uri="sqlite://")[0].verdict.passed
    with pytest.raises(StepError, match="TW512"):
        pin(lake_uri, config, run="r3")


def test_without_a_window_there_is_no_run(lake_uri):
    with pytest.raises(StepError, match="TW514"):
        pin(lake_uri, PinConfig(), window=None)
    assert pin(lake_uri, PinConfig(), window=Window(start=WINDOW.start, end=WINDOW.end + timedelta(days=1)))[1]

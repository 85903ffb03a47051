"""A cron that ends, while people may still start runs by hand.

A DAG's own `end_date` would turn the runs of a later logical date, which the trigger form fills in, into ones
that succeed at once without a single task.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import instance


class CronUntil(CronDataIntervalTimetable):
    """A cron's data intervals, none of which starts at `end` or later."""

    def __init__(self, cron: str, timezone: Any, end: datetime) -> None:
        super().__init__(cron, timezone)
        self.end = instance(end)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next run, unless the schedule is over."""
        last = self.end.subtract(microseconds=1)
        latest = min(last, restriction.latest) if restriction.latest else last
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction._replace(latest=latest)
        )

    def serialize(self) -> dict[str, Any]:
        """For Airflow's database."""
        return {**super().serialize(), "end": self.end.isoformat()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """From Airflow's database."""
        return cls(data["expression"], data["timezone"], datetime.fromisoformat(data["end"]))

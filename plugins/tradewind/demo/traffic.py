"""The endpoint's users: they ask for each flight of a window, with the features that the lake holds for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Event
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tradewind.demo.client import Answers, requests
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.lake import Lake

#: What is under way and how much of it there is → what to tell how much is done.
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Traffic:
    """Sends a window's flights to the model server."""

    lake: Lake
    url: str
    endpoint: str
    table: str = "flight-delays/features"
    time: str = "dep_scheduled"
    label: str = "late"

    def flights(self, window: Window) -> pa.Table:
        """What is known of a window's flights before they depart; never the label."""
        column = pc.field(self.time)
        rows = self.lake.table(self.table).snapshot().to_arrow(where=(column >= window.start) & (column < window.end))
        return rows.drop_columns([self.label])

    def send(self, window: Window, progress: Progress) -> dict[str, Any]:
        """Each flight once."""
        rows = self.flights(window)
        with progress("served", rows.num_rows) as answered:
            return requests(rows, url=self.url, endpoint=self.endpoint, on_progress=answered).facts()

    def keep_sending(self, window: Window, until: Event) -> dict[str, Any]:
        """Flights of the window, over and over, until it is time to stop."""
        rows, total = self.flights(window), Answers()
        while not until.is_set():
            some = requests(rows, url=self.url, endpoint=self.endpoint, batch=5, parallel=2, until=until)
            total.rows, total.requests = total.rows + some.rows, total.requests + some.requests
            total.failed, total.digests = total.failed + some.failed, total.digests + some.digests
            total.error = some.error or total.error
            time.sleep(0.1)
        return total.facts()

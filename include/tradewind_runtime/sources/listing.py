"""Which objects match, which of them nobody has read, and for which a run waits: asked with the store's client alone.

The control plane asks it too, so it knows neither a lake nor a library that reads rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from tradewind_runtime.connections import Connection
from tradewind_runtime.contract import dates
from tradewind_runtime.contract.base import duration_text
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.keys import key_of
from tradewind_runtime.contract.pins import PinConfig
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.sources import STORES, ObjectsSource
from tradewind_runtime.sources.stores import Place, Reach

NONE = timedelta(0)
POLL = 5.0  # seconds between two looks of who waits

log = logging.getLogger("tradewind")


class Reached(Reach, Protocol):
    """What the objects of a run are reached by."""

    @property
    def window(self) -> Window | None: ...  # noqa: D102


@dataclass(frozen=True)
class Way:
    """The way to objects of one who reads none of them."""

    connection: Connection | None = None
    project: Path | None = None
    window: Window | None = None


def matching(objects: ObjectsSource, by: Reached) -> dict[str, str]:
    """The objects that match now, and their versions; with `mode: replace` the newest alone.

    Raises:
        StepError: TW514 where dates are wanted and the run has no window, TW525 where the store cannot be asked.
    """
    place = Place.of(objects.uri, by)
    found = _found(objects, by, place, objects.lookback)
    if objects.mode == "replace":
        newest = max(found, key=lambda one: (one[1]["last_modified"], one[0]), default=None)
        return {newest[0]: place.version(newest[1])} if newest else {}
    return dict(sorted((key, place.version(meta)) for key, meta in found))


def unread_of(objects: ObjectsSource, by: Reached, read: Mapping[str, str]) -> int:
    """Versions of objects that were not pinned.

    Args:
        objects: the source.
        by: the way to it.
        read: key → the version that was pinned; empty before the first run.

    Raises:
        StepError: as `matching`.
    """
    return sum(read.get(key) != version for key, version in matching(objects, by).items())


def waits(config: Mapping[str, Any]) -> bool:
    """Whether the step `pin` may have to wait, by its configuration as it is in a plan."""
    return any((one.get("objects") or {}).get("wait") for one in config.get("sources", {}).values())


@dataclass(frozen=True)
class Waiting:
    """Sources of a run, each of which is waited for until an object of it is there, or its time is up."""

    sources: Mapping[str, ObjectsSource]
    since: datetime

    @classmethod
    def of(cls, request: StepRequest, since: datetime) -> Waiting:
        """What the run is to wait for before this request, of the step `pin`; a backfill reads nothing.

        Raises:
            StepError: TW515 where what the run fills in makes its configuration none.
        """
        config = request.configured(PinConfig)
        sources = {} if config.backfill else config.sources
        return cls({name: one.objects for name, one in sources.items() if one.objects and one.objects.wait}, since)

    @property
    def connections(self) -> frozenset[str]:
        """Their ids."""
        return frozenset(one.connection for one in self.sources.values() if one.connection)

    def ways(self, request: StepRequest, texts: Mapping[str, str]) -> dict[str, Way]:
        """To each of them, by the texts of the connections."""
        project = request.settings.get("project")
        return {
            name: Way(
                Connection.parse(one.connection, texts[one.connection]) if one.connection else None,
                Path(project) if project else None,
                request.window,
            )
            for name, one in self.sources.items()
        }

    def over(self, now: datetime) -> bool:
        """Whether nothing is waited for any longer."""
        return all(now - self.since >= _wait(one) for one in self.sources.values())

    def late(self, said: str) -> StepError:
        """That time is up, for who cannot even look."""
        name, objects = next(iter(self.sources.items()))
        return _never_came(name, objects, said)

    def missing(self, ways: Mapping[str, Way], now: datetime) -> dict[str, ObjectsSource]:
        """Those of which nothing is there. A store that does not answer may do so later.

        Raises:
            StepError: TW535 where the time of one is up; TW525 of a store that no waiting opens.
        """
        found: dict[str, ObjectsSource] = {}
        for name, objects in self.sources.items():
            by, said = ways[name], None
            try:
                if next(_found(objects, by, Place.of(objects.uri, by)), None) is not None:
                    continue
            except StepError as error:
                if not error.retryable:
                    raise
                said = error.problems[0].message
                log.warning("what there is of %s is not known: %s", name, said)
            if now - self.since >= _wait(objects):
                raise _never_came(name, objects, said or f"nothing at {', '.join(_patterns(objects, by.window)[:3])}")
            found[name] = objects
        return found


def _found(
    objects: ObjectsSource, by: Reached, place: Place, back: timedelta = NONE
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for pattern in _patterns(objects, by.window, back):
        yield from place.matching(pattern)


def _wait(objects: ObjectsSource) -> timedelta:
    return objects.wait or NONE


def _never_came(name: str, objects: ObjectsSource, got: str) -> StepError:
    return StepError(
        "TW535",
        f"{objects.uri} was waited for {duration_text(_wait(objects))}, and no object has come",
        retryable=False,
        path=f"sources.{name}.objects.wait",
        got=got,
        expected="at least one object",
        fix="see who was to write it, and where to; then clear the task, which waits anew",
    )


def _patterns(objects: ObjectsSource, window: Window | None, back: timedelta = NONE) -> list[str]:
    """Keys or globs below the store's root, one for each date of the window, and so long before, where it wants dates.

    Raises:
        StepError: TW514 where it wants dates and the run has no window, or what no date has.
    """
    path = key_of(objects.uri)
    paths = [path]
    if dates.dated(path):
        if window is None:
            raise StepError("TW514", f"{objects.uri} wants dates, and the run has no window", retryable=False)
        if wrong := dates.stray(path):
            raise StepError(
                "TW514", f"no date has a {wrong[0]}", retryable=False, got=objects.uri, expected=", ".join(dates.PARTS)
            )
        paths = dates.of_days(path, Window(start=window.start - back, end=window.end).dates())
    scheme = urlsplit(objects.uri).scheme
    encoded = scheme == "file" or STORES.get(scheme) == "http"
    return [unquote(one) for one in paths] if encoded else paths

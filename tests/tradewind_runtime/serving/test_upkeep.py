"""When a replica is ready."""

from __future__ import annotations

from tradewind_runtime.documents import Documents
from tradewind_runtime.serving.upkeep import Upkeep


def upkeep(lake: str, *names: str) -> Upkeep:
    return Upkeep(Documents(lake), names, replica="r", address="http://127.0.0.1", every=1, segment=1)


def test_an_empty_lake_is_ready_once_it_was_read(lake_uri):
    mine = upkeep(lake_uri)
    assert not mine.ready  # a lake that is away looks like this
    mine.follow()
    assert mine.ready


def test_an_endpoint_that_is_named_is_waited_for_in_an_empty_lake(lake_uri):
    mine = upkeep(lake_uri, "m")
    mine.follow()
    assert not mine.ready

"""Refused messages that wait in quarantine, and which of some places are rows."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tradewind_runtime.tables import ingested, new_lake

from tradewind_runtime.lake import Lake
from tradewind_runtime.waiting import PLACE, among, keys, waiting

PLACES = st.lists(st.tuples(st.sampled_from(["t-0", "t-1", "t-2"]), st.integers(0, 20)), max_size=15)


def table(*places: tuple[str, int]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(PLACE.names, place, strict=True)) for place in places], PLACE)


def told(found: pa.Table) -> list[tuple[str, int]]:
    return sorted((row["source"], row["position"]) for row in found.to_pylist())


@settings(max_examples=25)
@given(PLACES, PLACES)
def test_those_of_some_places_at_which_there_are_rows(
    rows: list[tuple[str, int]], asked: list[tuple[str, int]]
) -> None:
    lake = new_lake()
    ingested(lake, "t-0", [])
    for source in {source for source, _ in rows}:
        ingested(lake, source, sorted({at for one, at in rows if one == source}))
    assert told(among(lake.table("p/t_raw").snapshot(), table(*asked))) == sorted({*rows} & {*asked})


def test_what_waits_is_of_the_topic_and_below_the_rows(lake_uri: str) -> None:
    lake = Lake(lake_uri)
    tables = lake.table("p/t_raw"), lake.table("p/t_quarantine")
    assert list(waiting(*tables, "t")) == []
    ingested(lake, "t-0", [0, 2], committed=4, refused=[1, 3, 4, 7])
    ingested(lake, "t-1", [5], committed=6, refused=[5])
    ingested(lake, "t-2", [], refused=[0])  # of which no row was ever committed
    ingested(lake, "u-0", [], committed=9, refused=[2])
    ingested(lake, "t-0", [], refused=[2], stage="check")
    (found,) = waiting(*tables, "t")
    assert told(found) == [("t-0", 1), ("t-0", 3), ("t-1", 5)]
    (few,) = waiting(*tables, "t", PLACE.names)
    assert few.schema == PLACE
    assert keys(few).column_names == ["source", "position", "stage"]
    assert list(waiting(*tables, "v")) == []

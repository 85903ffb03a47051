"""Ranges of offsets in parts."""

import hypothesis.strategies as st
from hypothesis import given

from tradewind_runtime.sources.parts.kafka import LEAST, cut

RANGES = st.dictionaries(
    st.integers(0, 20), st.tuples(st.integers(0, 10**9), st.integers(1, 10**6)).map(lambda pair: (pair[0], sum(pair)))
)


@given(RANGES, st.integers(1, 64))
def test_each_offset_is_in_one_part(ranges, pieces):
    parts = cut(ranges, pieces)
    assert len(parts) <= pieces
    assert all(start < upto for part in parts for start, upto in part.values())
    for partition, (start, upto) in ranges.items():
        own = [part[partition] for part in parts if partition in part]
        assert [begin for begin, _ in own] == [start, *(end for _, end in own[:-1])]
        assert own[-1][1] == upto


@given(RANGES, st.integers(1, 64))
def test_parts_are_of_one_size_and_worth_a_process(ranges, pieces):
    sizes = [sum(upto - start for start, upto in part.values()) for part in cut(ranges, pieces)]
    assert len(set(sizes[:-1])) <= 1
    assert all(size >= LEAST for size in sizes[:-1])

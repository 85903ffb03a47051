import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.endpoints.sketch import Sketch


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200))
def test_a_sketch_keeps_order_and_quantiles(values):
    ordered = sorted(values)
    buckets = [Sketch.bucket(value) for value in ordered]
    assert buckets == sorted(buckets)
    counts: dict[int, int] = {}
    for bucket in buckets:
        counts[bucket] = counts.get(bucket, 0) + 1
    median = Sketch(counts=counts).quantile(0.5)
    exact = ordered[(len(ordered) + 1) // 2 - 1]
    assert median == pytest.approx(exact, rel=0.011, abs=1.1e-9)


@given(st.lists(st.floats(0, 1), min_size=1), st.lists(st.floats(0, 1), min_size=1))
def test_the_distance_is_symmetric_and_zero_to_itself(left, right):
    def sketch(values):
        counts: dict[int, int] = {}
        for value in values:
            counts[Sketch.bucket(value)] = counts.get(Sketch.bucket(value), 0) + 1
        return Sketch(counts=counts)

    one, other = sketch(left), sketch(right)
    assert one.distance(one) == 0
    assert one.distance(other) == other.distance(one) <= 1
    assert one.merged(other).total == len(left) + len(right)

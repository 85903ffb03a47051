import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.endpoints import EndpointGeneration, in_canary


def _generation(weight: int) -> EndpointGeneration:
    return EndpointGeneration(
        endpoint="m",
        number=2,
        stable="a" * 64,
        canary="b" * 64,
        weight=weight,
        created="2024-01-01T00:00:00Z",
        by="test",
        reason="because",
    )


@given(st.text(max_size=40), st.integers(1, 99), st.integers(1, 99))
def test_who_is_in_the_canary_stays_in_it_as_it_grows(key, one, other):
    low, high = sorted((one, other))
    assert in_canary(_generation(low), key) <= in_canary(_generation(high), key)


@pytest.mark.parametrize("weight", [1, 10, 50, 99])
def test_shares_are_as_the_weight_says(weight):
    share = sum(in_canary(_generation(weight), f"request-{n}") for n in range(20_000)) / 20_000
    assert abs(share - weight / 100) < 0.012

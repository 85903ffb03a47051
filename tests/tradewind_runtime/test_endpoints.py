import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime import endpoints
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import EndpointGeneration, Sketch, in_canary

A, B, C = "a" * 64, "b" * 64, "c" * 64
WHO = {"by": "test", "reason": "because"}


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents((tmp_path / "a lake").as_uri())


def test_the_first_version_goes_straight_in(documents):
    first = endpoints.promote(documents, "m", A, expected=0, weight=10, version="1", **WHO)
    assert (first.number, first.stable, first.canary, first.weight) == (1, A, None, 0)
    assert endpoints.latest(documents, "m") == first
    assert endpoints.latest(documents, "m", after=1) is None
    assert endpoints.endpoints(documents) == ["m"]


def test_a_canary_rises_and_becomes_stable_and_goes_back(documents):
    endpoints.promote(documents, "m", A, expected=0, version="1", **WHO)
    ten = endpoints.promote(documents, "m", B, expected=1, weight=10, version="2", **WHO)
    assert (ten.stable, ten.canary, ten.weight, ten.model_versions) == (A, B, 10, {A: "1", B: "2"})
    whole = endpoints.promote(documents, "m", B, expected=2, weight=100, **WHO)
    assert (whole.stable, whole.canary, whole.replaced) == (B, None, A)
    assert endpoints.latest(documents, "m", after=1) == whole
    back = endpoints.rollback(documents, "m", expected=3, **WHO)
    assert (back.stable, back.canary, back.model_versions[A]) == (A, None, "1")
    with pytest.raises(StepError, match="TW562"):
        endpoints.rollback(documents, "m", expected=4, **WHO)  # A replaced nothing: not forward to B again
    assert endpoints.rollback(documents, "m", expected=4, to=B, **WHO).stable == B
    assert endpoints.served(documents, "m", B)
    assert not endpoints.served(documents, "m", C)


def test_an_abort_leaves_the_stable_one_and_what_it_replaced(documents):
    endpoints.promote(documents, "m", A, expected=0, **WHO)
    endpoints.promote(documents, "m", B, expected=1, capture=False, **WHO)
    endpoints.promote(documents, "m", C, expected=2, weight=50, version="3", **WHO)
    gone = endpoints.abort_canary(documents, "m", expected=3, **WHO)
    assert (gone.stable, gone.canary, gone.replaced, gone.weight, gone.capture) == (B, None, A, 0, False)
    assert C not in gone.model_versions


def test_only_one_of_many_writers_creates_the_next_and_a_retry_adopts_its_own(documents):
    endpoints.promote(documents, "m", A, expected=0, **WHO)
    won, lost = [], []
    barrier = threading.Barrier(8)

    def write(name: str) -> None:
        barrier.wait()
        try:
            won.append(endpoints.promote(documents, "m", B, expected=1, weight=10, by=name, reason="race"))
        except StepError as error:
            lost.append(error)

    threads = [threading.Thread(target=write, args=(f"writer-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert all(error.problems[0].code == "TW567" and not error.retryable for error in lost)
    again = endpoints.promote(documents, "m", B, expected=1, weight=10, by=won[0].by, reason="race")
    assert again == won[0]


def test_no_generation_without_the_one_before(documents):
    with pytest.raises(StepError, match="TW567"):
        endpoints.advance(documents, "m", 3, stable=A, **WHO)
    assert endpoints.latest(documents, "m") is None


def _generation(weight: int) -> EndpointGeneration:
    return EndpointGeneration(
        endpoint="m", number=2, stable=A, canary=B, weight=weight, created="2024-01-01T00:00:00Z", **WHO
    )


@given(st.text(max_size=40), st.integers(1, 99), st.integers(1, 99))
def test_who_is_in_the_canary_stays_in_it_as_it_grows(key, one, other):
    low, high = sorted((one, other))
    assert in_canary(_generation(low), key) <= in_canary(_generation(high), key)


@pytest.mark.parametrize("weight", [1, 10, 50, 99])
def test_shares_are_as_the_weight_says(weight):
    share = sum(in_canary(_generation(weight), f"request-{n}") for n in range(20_000)) / 20_000
    assert abs(share - weight / 100) < 0.012


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

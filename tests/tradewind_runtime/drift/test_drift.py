"""Properties of profiles and of the index: they must hold for any column."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.drift import Profile, Sampler, compare, profile, reference
from tradewind_runtime.drift.psi import index

NUMBERS = st.lists(st.one_of(st.none(), st.floats(width=32), st.integers(-5, 5).map(float)), max_size=60)
TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3), st.integers(0, 40).map(str)), max_size=60)


def table(**columns: object) -> pa.Table:
    return pa.table(
        {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    )


@given(NUMBERS, TEXTS)
@settings(max_examples=100)
def test_every_row_is_in_one_cell_and_bins_rise(numbers: list[float | None], texts: list[str | None]) -> None:
    rows = pa.table({"x": pa.array(numbers, pa.float64())})
    (x,) = profile(rows, ["x"]).features
    assert sum(x.counts) == len(numbers)
    assert len(x.counts) == len(x.edges) + 2 <= 20
    assert list(x.edges) == sorted(set(x.edges))
    assert all(math.isfinite(edge) for edge in x.edges)
    assert x.counts[-1] == sum(value is None or math.isnan(value) for value in numbers)
    (t,) = profile(pa.table({"t": pa.array(texts, pa.string())}), ["t"]).features
    assert sum(t.counts) == len(texts)
    assert len(t.counts) == len(t.categories) + 2 <= 21
    assert t.counts[-1] == texts.count(None)


@given(NUMBERS, NUMBERS)
@settings(max_examples=100)
def test_the_index_is_never_negative_and_nothing_against_itself(
    then: list[float | None], now: list[float | None]
) -> None:
    before, after = (pa.table({"x": pa.array(values, pa.float64())}) for values in (then, now))
    known = profile(before, ["x"])
    (drift,) = compare(known, after.to_batches()).features
    assert drift.psi >= 0
    assert math.isfinite(drift.psi)
    (same,) = compare(known, before.to_batches()).features
    assert same.psi == pytest.approx(0, abs=1e-12)
    assert same.counts == known.features[0].counts


@given(NUMBERS.filter(bool), st.integers(1, 20), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_order_and_batches_do_not_matter(values: list[float | None], size: int, random: object) -> None:
    known = profile(table(x=pa.array([0.0, 1.0, 2.0, 2.0, None], pa.float64())), ["x"])
    whole = compare(known, pa.table({"x": pa.array(values, pa.float64())}).to_batches())
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    parts = pa.table({"x": pa.array(shuffled, pa.float64())}).to_batches(max_chunksize=size)
    assert compare(known, parts) == whole


@given(st.lists(st.integers(0, 50), min_size=2, max_size=12), st.integers(1, 1000))
def test_the_same_shares_of_more_rows_are_no_drift(counts: list[int], times: int) -> None:
    assert index(counts, [count * times for count in counts]) == pytest.approx(0, abs=1e-9)


def test_json_there_and_back() -> None:
    known = profile(
        table(x=[1.5, None, 3.0], s=["a", None, "b"], i=[1, 2, 3], b=[True, False, None]), ["x", "s", "i", "b"]
    )
    assert Profile.model_validate_json(known.model_dump_json()) == known


def test_what_drifts_is_found() -> None:
    rng = np.random.default_rng(1)
    then = table(
        calm=rng.normal(size=20_000), moved=rng.normal(size=20_000), constant=np.ones(20_000),
        tied=np.where(rng.random(20_000) < 0.9, 0.0, 1.0), text=rng.choice(["a", "b"], 20_000),
        full=rng.normal(size=20_000), flag=rng.random(20_000) < 0.5,
    )  # fmt: skip
    nulls = pa.array([None if miss else 0.1 for miss in rng.random(1000) < 0.4], pa.float64())
    now = table(
        calm=rng.normal(size=1000), moved=rng.normal(0.8, size=1000), constant=np.full(1000, 1.5),
        tied=np.where(rng.random(1000) < 0.9, 0.0, 1.0), text=rng.choice(["a", "c"], 1000),
        full=nulls, flag=np.ones(1000, dtype=bool),
    )  # fmt: skip
    found = compare(profile(then, then.column_names), now.to_batches())
    assert set(found.drifting(0.2)) == {"moved", "constant", "text", "full", "flag"}
    assert found.share(0.2) == pytest.approx(5 / 7)


def test_a_value_that_was_served_as_float32_stays_in_its_cell() -> None:
    then = table(x=[0.1, 0.2, 0.3, 0.7] * 50)
    now = table(x=np.array([0.1, 0.2, 0.3, 0.7] * 10, dtype=np.float32))
    assert compare(profile(then, ["x"]), now.to_batches()).features[0].psi == pytest.approx(0, abs=1e-12)


def test_few_rows_of_the_same_kind_are_not_taken_for_drift() -> None:
    rng = np.random.default_rng(2)
    known = profile(table(x=rng.normal(size=50_000), s=rng.choice(list("abcdefgh"), 50_000)), ["x", "s"])
    for _ in range(20):
        few = table(x=rng.normal(size=200), s=rng.choice(list("abcdefgh"), 200))
        assert not compare(known, few.to_batches()).drifting(0.2)


def test_rare_texts_are_one_cell() -> None:
    then = table(s=[f"often{n % 19}" for n in range(1900)] + [f"once{n}" for n in range(50)])
    (s,) = profile(then, ["s"]).features
    assert len(s.categories) == 19
    assert s.counts[-2] == 50


def test_a_missing_or_wrong_column_is_named() -> None:
    known = profile(table(x=[1.0, 2.0]), ["x"])
    with pytest.raises(StepError, match="no column 'x'"):
        compare(known, table(y=[1.0]).to_batches())
    with pytest.raises(StepError, match="was a number at training"):
        compare(known, table(x=["late"]).to_batches())


def test_the_reference_is_bounded_even_and_repeatable() -> None:
    rows = table(x=np.arange(50_000), s=[str(n) for n in range(50_000)])
    content = reference(rows, ["x"], rows=500, seed=3)
    sample = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    assert sample.column_names == ["x"]
    assert sample.num_rows == 500
    assert reference(rows, ["x"], rows=500, seed=3) == content
    assert 20_000 < np.mean(sample["x"].to_numpy()) < 30_000
    assert sample["x"].to_pylist() == sorted(sample["x"].to_pylist())
    few = pa.ipc.open_file(pa.BufferReader(reference(rows.slice(0, 7), ["s"]))).read_all()
    assert few["s"].to_pylist() == list("0123456")


def test_a_sample_of_nothing() -> None:
    schema = pa.schema([("x", pa.int64())])
    assert Sampler(10).table(schema).num_rows == 0

"""The gate says yes only for numbers that exist and suffice."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime import gate
from tradewind_runtime.contract.promote import METRICS, Threshold
from tradewind_runtime.gate import Comparison, Scores

WHEN = {"roc_auc": Threshold(min=0.65, beats_champion_by=0.0), "log_loss": Threshold(max=0.6)}


def scores(auc=0.7, loss=0.5, rows=100, problems=()):
    found = {"roc_auc": auc, "log_loss": loss}
    return Scores(rows, {name: value for name, value in found.items() if value is not None}, problems)


def judge(candidate, comparison=None, **more):
    return gate.judge(WHEN, "binary", candidate, comparison, **{"min_rows": 30} | more)


def test_a_first_model_passes_by_its_own_numbers():
    assert judge(scores()).passed
    assert judge(scores()).reasons == ()


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (scores(auc=0.64), "roc_auc 0.64 is less than 0.65"),
        (scores(loss=0.7), "log_loss 0.7 is more than 0.6"),
        (scores(auc=None), "roc_auc could not be measured"),
        (scores(auc=math.nan), "roc_auc could not be measured"),
        (scores(loss=math.inf), "log_loss could not be measured"),
        (scores(rows=29), "29 test rows are fewer than 30"),
        (Scores(0), "0 test rows are fewer than 30"),
        (scores(problems=("3 of 100 predictions are NaN or infinite",)), "3 of 100 predictions are NaN or infinite"),
    ],
)
def test_it_says_no_and_why(candidate, reason):
    verdict = judge(candidate)
    assert not verdict.passed
    assert reason in verdict.reasons


@pytest.mark.parametrize(
    ("comparison", "reason"),
    [
        (Comparison(scores(0.69), scores(0.7)), "better by -0.01"),
        (Comparison(refusal="there is no row"), "not comparable with the champion: there is no row"),
        (Comparison(scores(rows=3), scores(rows=3)), "3 compared rows are fewer than 30"),
        (Comparison(scores(), scores(auc=None)), "roc_auc could not be compared"),
        (Comparison(scores(), Scores(100, problems=("NaN",))), "champion: NaN"),
    ],
)
def test_a_champion_is_not_replaced_by_what_is_not_better(comparison, reason):
    verdict = judge(scores(), comparison)
    assert not verdict.passed
    assert reason in "; ".join(verdict.reasons)


def test_at_least_as_good_is_enough_for_a_margin_of_zero():
    assert judge(scores(), Comparison(scores(), scores())).passed


def test_a_margin_is_not_lost_to_rounding():
    when = {"roc_auc": Threshold(beats_champion_by=0.01)}
    assert gate.judge(when, "binary", scores(), Comparison(scores(0.71), scores(0.70))).passed


def test_the_champion_itself_is_unchanged():
    assert judge(scores(), unchanged=True).reasons == ("unchanged",)


def test_without_beats_champion_by_there_is_nothing_to_compare():
    when = {"roc_auc": Threshold(min=0.5)}
    assert gate.judge(when, "binary", scores(), Comparison(refusal="no rows")).passed


FINITE = st.floats(-1e6, 1e6)
METRIC = st.sampled_from([(task, name) for task, names in METRICS.items() for name in names])


@given(METRIC, FINITE, FINITE, st.floats(0, 10))
def test_only_one_of_two_can_beat_the_other_by_a_margin(metric, one, other, margin):
    task, name = metric
    when = {name: Threshold(beats_champion_by=margin + 1e-6)}

    def wins(mine, theirs):
        return gate.judge(
            when, task, Scores(9, {name: mine}), Comparison(Scores(9, {name: mine}), Scores(9, {name: theirs}))
        ).passed

    assert not (wins(one, other) and wins(other, one))
    if wins(one, other):
        assert (one > other) == METRICS[task][name]


@given(METRIC, st.one_of(st.none(), st.floats()), st.floats(-10, 10), st.floats(-10, 10))
def test_a_pass_means_that_the_number_lies_within_its_bounds(metric, value, low, high):
    task, name = metric
    found = Scores(9, {} if value is None else {name: value})
    verdict = gate.judge({name: Threshold(min=low, max=high)}, task, found)
    assert verdict.passed == (value is not None and math.isfinite(value) and low <= value <= high)
    assert verdict.passed == (not verdict.reasons)

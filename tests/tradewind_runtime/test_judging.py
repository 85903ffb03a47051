import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind_runtime.contract.deploy import Abort, Stage
from tradewind_runtime.endpoints import ArmStatus, EndpointGeneration, ReplicaStatus
from tradewind_runtime.endpoints.sketch import Sketch
from tradewind_runtime.judging import judge

A, B = "a" * 64, "b" * 64
START = datetime(2024, 1, 1, tzinfo=UTC)
STAGE, ABORT = Stage(min_requests=100, min_time=30, max_time=600), Abort()
CANARY = EndpointGeneration(endpoint="m", number=2, stable=A, canary=B, weight=10, created=START, by="t", reason="r")
ALONE = EndpointGeneration(endpoint="m", number=2, stable=A, created=START, by="t", reason="r")


def sketch(values):
    counts: dict[int, int] = {}
    for value in values:
        counts[Sketch.bucket(value)] = counts.get(Sketch.bucket(value), 0) + 1
    return Sketch(counts=counts)


def arm(rows=200, errors=0, seconds=0.01, answers=None):
    drawn = random.Random(rows)
    answers = answers or [drawn.random() for _ in range(rows - errors)]
    return ArmStatus(
        requests=rows, rows=rows, errors=errors, latency=sketch([seconds] * (rows - errors)), answers=sketch(answers)
    )


def status(stable, canary, *, generation=2, at=60.0, replica="one", **more):
    return ReplicaStatus(
        endpoint="m",
        replica=replica,
        generation=generation,
        observed=START,
        written=START + timedelta(seconds=at),
        arms={A: stable, B: canary},
        **more,
    )


def at(seconds, *statuses, generation=CANARY, **more):
    return judge(STAGE, ABORT, generation, statuses, START, START + timedelta(seconds=seconds), **more)


def test_equal_arms_pass_once_there_is_traffic_and_time():
    assert at(60, status(arm(), arm(150))).state == "pass"
    assert at(20, status(arm(), arm(150), at=19)).state == "wait"  # min_time
    assert at(60, status(arm(), arm(50))).state == "wait"  # min_requests


def test_a_server_that_may_sleep_is_woken_before_it_is_judged():
    assert at(599, sleeps=True).state == "wait"
    assert at(601, sleeps=True).state == "replay"
    assert at(601, sleeps=True, generation=ALONE).state == "replay"
    assert at(601, sleeps=True, replayed=True).state == "fail"
    assert at(601, status(arm(), arm(150), at=600), sleeps=True).state == "pass"
    assert at(601).state == "fail"


def test_too_little_traffic_is_replayed_and_then_judged_with_what_there_is():
    few = status(arm(40), arm(4), at=599)
    assert at(599, few).state == "wait"
    assert at(601, few).state == "replay"
    assert at(601, few, replayed=True).state == "pass"
    bad = status(arm(40), arm(40, errors=20), at=599)
    assert at(601, bad, replayed=True).state == "fail"
    assert at(601, status(ArmStatus(), ArmStatus(), at=599), replayed=True).state == "pass"


@pytest.mark.parametrize(
    ("canary", "word"),
    [
        (arm(150, errors=20), "errors"),
        (arm(150, seconds=0.2), "latency"),
        (arm(150, answers=[0.9 + 0.001 * n for n in range(100)]), "answers"),
        (arm(150, errors=150), "errors"),
    ],
)
def test_each_way_to_be_worse_fails_and_says_so(canary, word):
    judgement = at(60, status(arm(), canary))
    assert judgement.state == "fail"
    assert any(reason.startswith(word) for reason in judgement.reasons)


def test_small_differences_of_a_quick_model_are_noise():
    assert at(60, status(arm(seconds=0.001), arm(150, seconds=0.009))).state == "pass"


def test_every_live_replica_must_serve_it_and_stale_ones_do_not_count():
    good = status(arm(), arm(150))
    late = status(arm(), arm(), generation=1, replica="two")
    assert at(60, good, late).state == "wait"
    assert (
        at(
            700,
            good.model_copy(update={"written": START + timedelta(seconds=699)}),
            late.model_copy(update={"written": START + timedelta(seconds=699)}),
        ).state
        == "fail"
    )
    assert at(95, good.model_copy(update={"written": START + timedelta(seconds=90)}), late).state == "pass"
    assert at(60).state == "wait"
    assert at(601).state == "fail"  # nobody is there


def test_a_tampered_model_fails_at_once():
    refused = status(arm(), arm(), generation=1, refused=2, problems=("model.ubj is not what its digest says",))
    judgement = at(5, refused)
    assert judgement.state == "fail"
    assert "digest" in judgement.reasons[0]


def test_without_a_canary_it_passes_when_it_is_served():
    assert at(1, status(arm(), arm(), at=1), generation=ALONE).state == "pass"
    assert at(1, status(arm(), arm(), at=1, generation=1), generation=ALONE).state == "wait"


@given(st.lists(st.integers(0, 300), min_size=1, max_size=4), st.integers(0, 700))
def test_replicas_add_up(sizes, seconds):
    many = [
        status(arm(size) if size else ArmStatus(), arm(size) if size else ArmStatus(), at=seconds, replica=f"r{n}")
        for n, size in enumerate(sizes)
    ]
    judgement = at(seconds, *many)
    enough = sum(sizes) >= 100
    expected = "pass" if enough and seconds >= 30 else "replay" if not enough and seconds >= 600 else "wait"
    assert judgement.state == expected

import threading
from pathlib import Path

import pytest

from tradewind_runtime import endpoints
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import moves

A, B, C = "a" * 64, "b" * 64, "c" * 64
WHO = {"by": "test", "reason": "because"}


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents((tmp_path / "a lake").as_uri())


def test_the_first_version_goes_straight_in(documents):
    first = moves.promote(documents, "m", A, expected=0, weight=10, version="1", **WHO)
    assert (first.number, first.stable, first.canary, first.weight) == (1, A, None, 0)
    assert endpoints.latest(documents, "m") == first
    assert endpoints.latest(documents, "m", after=1) is None
    assert endpoints.endpoints(documents) == ["m"]


def test_a_canary_rises_and_becomes_stable_and_goes_back(documents):
    moves.promote(documents, "m", A, expected=0, version="1", **WHO)
    ten = moves.promote(documents, "m", B, expected=1, weight=10, version="2", **WHO)
    assert (ten.stable, ten.canary, ten.weight, ten.model_versions) == (A, B, 10, {A: "1", B: "2"})
    whole = moves.promote(documents, "m", B, expected=2, weight=100, **WHO)
    assert (whole.stable, whole.canary, whole.replaced) == (B, None, A)
    assert endpoints.latest(documents, "m", after=1) == whole
    back = moves.rollback(documents, "m", expected=3, **WHO)
    assert (back.stable, back.canary, back.model_versions[A]) == (A, None, "1")
    with pytest.raises(StepError, match="TW562"):
        moves.rollback(documents, "m", expected=4, **WHO)  # A replaced nothing: not forward to B again
    assert moves.rollback(documents, "m", expected=4, to=B, **WHO).stable == B
    assert endpoints.served(documents, "m", B)
    assert not endpoints.served(documents, "m", C)


def test_an_abort_leaves_the_stable_one_and_what_it_replaced(documents):
    moves.promote(documents, "m", A, expected=0, **WHO)
    moves.promote(documents, "m", B, expected=1, capture=False, **WHO)
    moves.promote(documents, "m", C, expected=2, weight=50, version="3", **WHO)
    gone = moves.abort_canary(documents, "m", expected=3, **WHO)
    assert (gone.stable, gone.canary, gone.replaced, gone.weight, gone.capture) == (B, None, A, 0, False)
    assert C not in gone.model_versions


def test_only_one_of_many_writers_creates_the_next_and_a_retry_adopts_its_own(documents):
    moves.promote(documents, "m", A, expected=0, **WHO)
    won, lost = [], []
    barrier = threading.Barrier(8)

    def write(name: str) -> None:
        barrier.wait()
        try:
            won.append(moves.promote(documents, "m", B, expected=1, weight=10, by=name, reason="race"))
        except StepError as error:
            lost.append(error)

    threads = [threading.Thread(target=write, args=(f"writer-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert all(error.problems[0].code == "TW567" and not error.retryable for error in lost)
    again = moves.promote(documents, "m", B, expected=1, weight=10, by=won[0].by, reason="race")
    assert again == won[0]


def test_no_generation_without_the_one_before(documents):
    with pytest.raises(StepError, match="TW567"):
        moves.advance(documents, "m", 3, stable=A, **WHO)
    assert endpoints.latest(documents, "m") is None

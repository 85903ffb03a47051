from datetime import UTC, datetime
from pathlib import Path

import pytest

from tradewind_runtime import retraining
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.documents import Documents
from tradewind_runtime.retraining import RetrainRequest


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents(tmp_path.as_uri())


def request(month: int) -> RetrainRequest:
    window = Window(start=datetime(2013, month, 1, tzinfo=UTC), end=datetime(2013, month + 1, 1, tzinfo=UTC))
    return RetrainRequest(
        pipeline="p", endpoint="m", digest="a" * 64, window=window, reason="drift", created=datetime.now(UTC)
    )


def test_asked_once_taken_once_by_one_run(documents):
    assert retraining.ask(documents, request(6))
    assert not retraining.ask(documents, request(6))
    assert retraining.ask(documents, request(8))
    due = retraining.due(documents, "p", "run1")
    assert due == retraining.due(documents, "p", "run2"), "to look takes nothing"
    taken = retraining.take(documents, "p", "run1")
    assert [r.window.start.month for r in taken] == [6, 8]
    assert (due, retraining.due(documents, "p", "run2")) == (taken, [])
    assert retraining.take(documents, "p", "run2") == []
    assert retraining.waiting(documents, "p") == []
    assert retraining.take(documents, "p", "run1") == taken  # a retry
    whole = retraining.union(one.window for one in taken)
    assert whole is not None
    assert (whole.start.month, whole.end.month) == (6, 9)
    assert retraining.union([]) is None


def test_what_a_failed_run_has_taken_is_taken_by_the_next(documents):
    retraining.ask(documents, request(6))
    retraining.ask(documents, request(8))
    assert len(retraining.take(documents, "p", "run1")) == 2
    assert retraining.take(documents, "p", "run2", failed=lambda _: False) == []
    taken = retraining.take(documents, "p", "run3", failed=lambda run: run == "run1")
    assert [r.window.start.month for r in taken] == [6, 8]
    assert retraining.take(documents, "p", "run1", failed=lambda run: run == "run1") == []  # another has them now
    assert retraining.take(documents, "p", "run3", failed=lambda run: run == "run1") == taken  # a retry
    assert retraining.waiting(documents, "p") == []

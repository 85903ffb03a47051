import threading
from pathlib import Path

import pytest

from tradewind_runtime import leases
from tradewind_runtime.documents import Documents


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents(tmp_path.as_uri())


def never(_lease):
    return False


def test_one_holder_at_a_time_and_a_retry_gets_it_again(documents):
    first = leases.acquire(documents, "p", "dag", "run1", never)
    assert first is not None
    assert leases.acquire(documents, "p", "dag", "run1", never) == first
    assert leases.acquire(documents, "p", "dag", "run2", never) is None
    leases.release(documents, first)
    leases.release(documents, first)
    second = leases.acquire(documents, "p", "dag", "run2", never)
    assert second is not None
    assert second.number == 2
    assert leases.current(documents, "p") == second


def test_a_holder_that_has_ended_is_passed_over(documents):
    leases.acquire(documents, "p", "dag", "killed", never)
    assert leases.acquire(documents, "p", "dag", "next", lambda lease: lease.run == "killed") is not None


def test_of_many_at_once_one_gets_it(documents):
    barrier, got = threading.Barrier(10), []

    def ask(number: int) -> None:
        barrier.wait()
        if lease := leases.acquire(documents, "p", "dag", f"run{number}", never):
            got.append(lease)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1

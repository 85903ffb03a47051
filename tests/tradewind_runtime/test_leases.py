import threading
from datetime import UTC, datetime
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


@pytest.fixture
def asked(documents, monkeypatch):
    """What is got of the store, and what it lists."""
    seen = {"get": [], "names": [], "folders": []}
    for how, paths in seen.items():
        real = getattr(documents, how)

        def spied(path, *more, real=real, paths=paths):
            found = real(path, *more)
            found = found if isinstance(found, bytes | None) else list(found)
            paths.extend(found if isinstance(found, list) else [path])
            return found

        monkeypatch.setattr(documents, how, spied)
    return seen


def many(documents, count, name="p"):
    for number in range(1, count + 1):
        lease = leases.Lease(name=name, number=number, holder="dag", run=f"run{number}", created=datetime.now(UTC))
        assert documents.create_model(leases.lease_path(name, number), lease)
        leases.release(documents, lease)


def test_a_look_asks_for_a_few_however_many_there_were(documents, asked):
    many(documents, 5_000)
    last = leases.acquire(documents, "p", "dag", "last", never)
    assert last.number == 5_001
    for paths in asked.values():
        paths.clear()
    assert leases.current(documents, "p") == last
    assert list(leases.held(documents)) == [last]
    assert leases.acquire(documents, "p", "dag", "other", never) is None
    leases.release(documents, last)
    assert leases.current(documents, "p") is None
    assert asked["names"] == []
    assert asked["folders"] == ["p"]
    assert len(asked["get"]) == 4 * 4, "a note, its lease, none after it, a release"


@pytest.mark.parametrize("behind", [1, 2, 3, 7, 100])
def test_a_note_that_is_old_is_followed_to_the_newest(documents, asked, behind):
    """Its writer was killed before it had written it, or a slower one wrote an older one over it."""
    many(documents, 120)
    documents.put(leases.note_path("p"), leases.Note(number=120 - behind).model_dump_json().encode())
    assert leases.current(documents, "p") is None
    assert leases.acquire(documents, "p", "dag", "next", never).number == 121
    assert leases.current(documents, "p").number == 121
    assert asked["names"] == []
    assert len(asked["get"]) < 50


@pytest.mark.parametrize("note", [b"", b"{}", b'{"number": 9}'])
def test_a_note_that_tells_nothing_is_none(documents, note):
    many(documents, 3)
    documents.put(leases.note_path("p"), note)
    assert leases.acquire(documents, "p", "dag", "next", never).number == 4
    assert leases.current(documents, "p").number == 4


def test_older_leases_may_be_gone(documents):
    held = [leases.acquire(documents, "p", "dag", f"run{number}", lambda _: True) for number in range(5)]
    for lease in held[:4]:
        documents.delete(leases.lease_path("p", lease.number))
    assert leases.current(documents, "p") == held[4]
    documents.delete(leases.note_path("p"))
    assert leases.current(documents, "p") == held[4]


def test_none_is_held_where_none_was_ever_taken(documents):
    assert list(leases.held(documents)) == []
    assert leases.current(documents, "p") is None

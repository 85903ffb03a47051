"""One at a time: numbered leases, each created once and released by a second document.

The newest lease counts. A holder whose run has ended without releasing is passed over, so a kill blocks nobody.

Leases are never deleted, and there are many in time. Whoever takes one notes its number; from there on numbers have no
gaps, so that the newest is found by asking for a few of them. A note may be old: then a few more are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, ValidationError

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.documents import Documents


class Lease(Frozen):
    """The right of one run to do what only one may do."""

    name: str
    number: int = Field(ge=1)
    holder: str = Field(description="Who holds it, such as a DAG.")
    run: str = Field(description="The run of the holder.")
    created: AwareDatetime


class Release(Frozen):
    """The end of a lease."""

    released: AwareDatetime


class Note(Frozen):
    """Which lease was the newest once."""

    number: int = Field(ge=1)


def lease_path(name: str, number: int, *, released: bool = False) -> str:
    """Where a lease, or its release, lies below the lake."""
    return f"leases/{name}/{number:08d}{'.released' if released else ''}.json"


def note_path(name: str) -> str:
    """Where that is noted; not among the leases, which a former Tradewind lists."""
    return f"newest-leases/{name}.json"


def flow_lease(pipeline: str, flow: str) -> str:
    """The name of a pipeline's lease for one of its flows."""
    return f"pipeline-{pipeline}-{flow}"


def current(documents: Documents, name: str) -> Lease | None:
    """The newest lease, where it is not released."""
    lease, free = _newest(documents, name)
    return None if free else lease


def held(documents: Documents) -> Iterator[Lease]:
    """Every lease that is not released."""
    for name in documents.folders("leases"):
        if (lease := current(documents, name)) is not None:
            yield lease


def acquire(documents: Documents, name: str, holder: str, run: str, ended: Callable[[Lease], bool]) -> Lease | None:
    """Take the lease; None where another run holds it. A retry of the run that holds it gets it again.

    Args:
        documents: of the lake.
        name: what it is about, such as `pipeline-flight-delays`.
        holder: who asks.
        run: its run's id.
        ended: whether the run that holds a lease is over (and so never will release it).
    """
    lease, free = _newest(documents, name)
    if lease is not None and not free:
        if (lease.holder, lease.run) == (holder, run):
            return lease
        if not ended(lease):
            return None
    wanted = Lease(
        name=name, number=(lease.number if lease else 0) + 1, holder=holder, run=run, created=datetime.now(UTC)
    )
    if not documents.create_model(lease_path(name, wanted.number), wanted):
        return None
    documents.put(note_path(name), Note(number=wanted.number).model_dump_json().encode())
    return wanted


def release(documents: Documents, lease: Lease) -> None:
    """Give it back; doing so twice is harmless."""
    path = lease_path(lease.name, lease.number, released=True)
    documents.create_model(path, Release(released=datetime.now(UTC)))


def _newest(documents: Documents, name: str) -> tuple[Lease | None, bool]:
    lease = _noted(documents, name) or _listed(documents, name)
    if lease is None:
        return None, True
    lease = _last(documents, lease)
    return lease, documents.get(lease_path(name, lease.number, released=True)) is not None


def _last(documents: Documents, known: Lease) -> Lease:
    """The newest from a known one on: by steps that double until there is none, then by halves between the two."""
    step, beyond = 1, None
    while beyond is None or beyond - known.number > 1:
        wanted = known.number + step if beyond is None else (known.number + beyond) // 2
        found = documents.get_model(lease_path(known.name, wanted), Lease)
        if found is None:
            beyond = wanted
        else:
            known, step = found, 2 * step
    return known


def _noted(documents: Documents, name: str) -> Lease | None:
    """The lease that was noted; None where none was, or the note tells nothing."""
    try:
        note = documents.get_model(note_path(name), Note)
    except ValidationError:  # its machine lost its power
        return None
    return documents.get_model(lease_path(name, note.number), Lease) if note else None


def _listed(documents: Documents, name: str) -> Lease | None:
    """The newest of all: the first time only."""
    taken = [path for path in documents.names(f"leases/{name}") if not path.endswith(".released.json")]
    return documents.get_model(taken[-1], Lease) if taken else None

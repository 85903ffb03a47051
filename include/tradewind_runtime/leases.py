"""One at a time: numbered leases, each created once and released by a second document.

The newest lease counts. A holder whose run has ended without releasing is passed over, so a kill blocks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

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


def lease_path(name: str, number: int, *, released: bool = False) -> str:
    """Where a lease, or its release, lies below the lake."""
    return f"leases/{name}/{number:08d}{'.released' if released else ''}.json"


def flow_lease(pipeline: str, flow: str) -> str:
    """The name of a pipeline's lease for one of its flows."""
    return f"pipeline-{pipeline}-{flow}"


def current(documents: Documents, name: str) -> Lease | None:
    """The newest lease, where it is not released."""
    lease, free = _newest(documents, name)
    return None if free else lease


def held(documents: Documents) -> Iterator[Lease]:
    """Every lease that is not released."""
    for name in sorted({path.split("/")[1] for path in documents.names("leases")}):
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
    return wanted if documents.create_model(lease_path(name, wanted.number), wanted) else None


def release(documents: Documents, lease: Lease) -> None:
    """Give it back; doing so twice is harmless."""
    path = lease_path(lease.name, lease.number, released=True)
    documents.create_model(path, Release(released=datetime.now(UTC)))


def _newest(documents: Documents, name: str) -> tuple[Lease | None, bool]:
    names = set(documents.names(f"leases/{name}"))
    taken = sorted(path for path in names if not path.endswith(".released.json"))
    if not taken:
        return None, True
    lease = documents.get_model(taken[-1], Lease)
    assert lease is not None, "leases are never deleted"
    return lease, lease_path(name, lease.number, released=True) in names

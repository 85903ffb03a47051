"""States of a long training, kept in the lake under the request's own name, so that a killed one goes on.

A state is whole or it is not there: its name holds its digest, and one that does not match is passed over.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tradewind_runtime.documents import Documents

log = logging.getLogger("tradewind")
#: The newest, and one more in case that it is damaged.
KEEP = 2


def _memory() -> Documents:
    return Documents("memory:///")


@dataclass
class Checkpoints:
    """Kept step by step; the last two stay. In a notebook they are in memory.

    Args:
        documents: of the lake.
        folder: of this training alone.
        seconds: `offer` keeps no state sooner than this after the last one.
    """

    documents: Documents = field(default_factory=_memory, repr=False)
    folder: str = "checkpoints"
    seconds: float = 30.0
    _kept: float = field(default_factory=time.monotonic, init=False, repr=False)

    def save(self, step: int, state: bytes | Path) -> None:
        """Keep the state after a step: bytes, or a file of them. No pickle: see `dumps` of each framework."""
        content = state.read_bytes() if isinstance(state, Path) else state
        self.documents.put(f"{self.folder}/{step:010d}-{_digest(content)}", content)
        self._kept = time.monotonic()
        for old in self._names()[:-KEEP]:
            self.documents.delete(old)

    def offer(self, step: int, state: Callable[[], bytes | Path]) -> None:
        """Make and keep the state after a step, unless another was kept just now."""
        if time.monotonic() - self._kept >= self.seconds:
            self.save(step, state())

    def latest(self) -> tuple[int, bytes] | None:
        """The last step of which a whole state was kept, and that state; None at a first start."""
        for name in reversed(self._names()):
            step, _, digest = name.rpartition("/")[2].partition("-")
            content = self.documents.get(name)
            if content is not None and _digest(content) == digest:
                log.info("going on from the checkpoint after step %d", int(step))
                return int(step), content
            log.warning("checkpoint %s is not what its name says: passed over", name)
        return None

    def clear(self) -> None:
        """Forget them all, once there is a result."""
        for name in self._names():
            self.documents.delete(name)

    def _names(self) -> list[str]:
        return list(self.documents.names(self.folder))


class Borrowed(Checkpoints):
    """Another's, to go on from: whoever has these keeps none."""

    def save(self, step: int, state: bytes | Path) -> None:
        """Nothing."""

    def offer(self, step: int, state: Callable[[], bytes | Path]) -> None:
        """Nothing."""

    def clear(self) -> None:
        """Nothing."""


def checkpoints_path(fingerprint: str) -> str:
    """Where a request keeps its states, below the lake; a retry of it finds them there."""
    return f"checkpoints/{fingerprint}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

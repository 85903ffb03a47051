"""Two threads beside the requests: one follows the lake and writes statuses, one closes capture's segments."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import endpoints
from tradewind_runtime.serving.capture import Capture
from tradewind_runtime.serving.endpoint import ServedEndpoint

log = logging.getLogger("tradewind.serving")


class Upkeep:
    """All endpoints of this replica.

    Args:
        documents: of the lake.
        names: the endpoints to serve; all that the lake has, also later ones, where it is empty.
        replica: this replica's name.
        address: where it answers.
        every: seconds between looks at the lake.
        segment: seconds until a segment is closed.
    """

    def __init__(
        self,
        documents: Documents,
        names: Sequence[str],
        *,
        replica: str,
        address: str,
        every: float = 2.0,
        segment: float = 5.0,
    ) -> None:
        self._documents, self._names = documents, tuple(names)
        self._replica, self._address = replica, address
        self._every, self._segment = every, segment
        self._stop, self._looked = threading.Event(), threading.Event()
        self._empty = False  # the lake was read and has no endpoint
        self._threads = [
            threading.Thread(target=self._loop, args=(self._look, every), name="follow", daemon=True),
            threading.Thread(target=self._loop, args=(self.close_segments, 0.25), name="capture", daemon=True),
        ]
        self.served: dict[str, ServedEndpoint] = {}
        for name in self._names:
            self._add(name)

    @property
    def ready(self) -> bool:
        """Whether what was asked for is loaded: all that were named, or any where none was.

        Of a lake that has no endpoint yet nothing is asked: a new installation is not to wait for its first rollout.
        """
        loaded = [endpoint.serving is not None for endpoint in self.served.values()]
        return (all(loaded) if self._names else any(loaded)) if loaded else self._empty

    def start(self) -> None:
        """Begin to follow the lake."""
        for thread in self._threads:
            thread.start()

    @property
    def looked(self) -> bool:
        """Whether what the lake names is loaded, or cannot be."""
        return self._looked.is_set()

    def stop(self) -> None:
        """Close the open segments and write a last status."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)
        for endpoint in self.served.values():
            _guarded(lambda e=endpoint: e.capture.close(e.present))  # type: ignore[misc]
            _guarded(lambda e=endpoint: e.tell(stopped=True))  # type: ignore[misc]

    def _look(self) -> None:
        try:
            self.follow()
        finally:
            self._looked.set()

    def follow(self) -> None:
        """One look at the lake."""
        if not self._names:
            found = endpoints(self._documents)
            for name in found:
                if name not in self.served:
                    self._add(name)
            self._empty = not found
        for endpoint in self._endpoints():
            endpoint.follow()
            _guarded(endpoint.tell)

    def close_segments(self) -> None:
        """Close what is due."""
        for endpoint in self._endpoints():
            if endpoint.capture.due():
                _guarded(lambda e=endpoint: e.capture.close(e.present))  # type: ignore[misc]

    def _endpoints(self) -> Iterable[ServedEndpoint]:
        return tuple(self.served.values())

    def _add(self, name: str) -> None:
        capture = Capture(self._documents, name, self._replica, every=self._segment)
        self.served[name] = ServedEndpoint(self._documents, name, self._replica, self._address, capture)

    def _loop(self, work: Callable[[], None], every: float) -> None:
        while True:
            _guarded(work)
            if self._stop.wait(every):
                return


def _guarded(work: Callable[[], None]) -> None:
    """The lake may be away at any moment; the next round tries again."""
    try:
        work()
    except Exception as error:
        log.warning("%s: %s", type(error).__name__, error)

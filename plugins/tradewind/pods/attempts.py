"""What earlier pods of a request came to, by the lake: the next one goes elsewhere, or gets more memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradewind.pods.ending import Ending
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.documents import Documents
from tradewind_runtime.launchers.exchange import request_path


@dataclass(frozen=True)
class Attempts:
    """Pods of one request in one run that ended without a result, one document each."""

    documents: Documents
    request: StepRequest

    def endings(self) -> list[Ending]:
        """In their order."""
        found = (self.documents.get_model(name, Ending) for name in sorted(self.documents.names(self._folder)))
        return [ending for ending in found if ending is not None]

    def add(self, ending: Ending) -> None:
        """Note one more."""
        number = len(list(self.documents.names(self._folder)))
        self.documents.create_model(f"{self._folder}/{number:04d}.json", ending)

    @property
    def _folder(self) -> str:
        return request_path(self.request).removesuffix(".json") + ".attempts"


def nodes_to_avoid(endings: Sequence[Ending]) -> tuple[str, ...]:
    """Nodes on which a pod ended through no fault of its own."""
    guilty = (ending.node for ending in endings if ending.kind in {"node", "evicted", "start", "image"})
    return tuple(dict.fromkeys(node for node in guilty if node))


def times_out_of_memory(endings: Sequence[Ending]) -> int:
    """How often memory was too little."""
    return sum(ending.kind == "memory" for ending in endings)

"""KServe's registry and operations over our endpoints, with what KServe leaves open closed.

KServe is always ready, sends a request's headers back and lets anyone unload a model.
"""

from __future__ import annotations

from typing import Any

from kserve import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from tradewind_runtime.serving.model import EndpointModel
from tradewind_runtime.serving.upkeep import Upkeep


class Repository(ModelRepository):  # type: ignore[misc]
    """KServe's view of the endpoints. What they serve is decided in the lake, and nowhere else."""

    def __init__(self, upkeep: Upkeep) -> None:
        super().__init__()
        self._upkeep = upkeep

    def get_model(self, name: str) -> EndpointModel | None:
        """The endpoint, also one that the lake got after the start."""
        endpoint = self._upkeep.served.get(name)
        if endpoint is None:
            return None
        return self.models.setdefault(name, EndpointModel(endpoint))  # type: ignore[no-any-return]

    def get_models(self) -> dict[str, EndpointModel]:
        """All of them."""
        return {name: model for name in list(self._upkeep.served) if (model := self.get_model(name)) is not None}


class Plane(DataPlane):  # type: ignore[misc]
    """KServe's operations, with true readiness, and no header of a request in its answer."""

    def __init__(self, repository: Repository, upkeep: Upkeep) -> None:
        super().__init__(model_registry=repository)
        self._upkeep = upkeep

    async def ready(self) -> bool:
        """Whether there is something to answer with."""
        return self._upkeep.ready

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """From the manifest."""
        metadata: dict[str, Any] = self.get_model_from_registry(model_name).metadata()
        return metadata

    async def infer(self, model_name: str, request: Any, headers: dict[str, str] | None = None) -> tuple[Any, Any]:
        """Ask the endpoint."""
        model: EndpointModel = self.get_model_from_registry(model_name)
        return await model(request, headers=headers)


class ReadOnly(ModelRepositoryExtension):  # type: ignore[misc]
    """Nobody loads or unloads by the protocol."""

    async def load(self, model_name: str) -> None:
        """Refused: generations in the lake say what is loaded."""
        raise NotImplementedError(f"what {model_name!r} serves is decided by a rollout, not by the protocol")

    async def unload(self, model_name: str) -> None:
        """Refused, for the same reason."""
        await self.load(model_name)

"""One endpoint as KServe sees a model: splits, mirrors, counts, captures, answers."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InferenceError, InvalidInput, ModelNotReady
from kserve.protocol.infer_type import deserialize_bytes_tensor
from kserve.utils.numpy_codec import to_np_dtype
from prometheus_client import Counter, Histogram

from tradewind_runtime.endpoints import in_canary
from tradewind_runtime.serving.capture import Captured
from tradewind_runtime.serving.endpoint import Loaded, ModelFailedError, ServedEndpoint, Serving, point
from tradewind_runtime.serving.tensors import BadRequestError, Columns, Tensor, columns

log = logging.getLogger("tradewind.serving")
#: Values up to which a request is answered on the event loop; handing it to a thread costs more than it takes.
INLINE = 4096
#: Copies that may wait for the shadow; more are left out.
SHADOWS = 32

REQUESTS = Counter("tradewind_requests", "Requests answered.", ["endpoint", "arm", "digest", "outcome"])
SECONDS = Histogram(
    "tradewind_request_seconds",
    "From the parsed request to its answer.",
    ["endpoint", "arm"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    arm: str
    model: Loaded
    sent: Columns
    values: npt.NDArray[np.float64]


class EndpointModel(Model):  # type: ignore[misc]
    """One endpoint, as KServe sees a model."""

    def __init__(self, endpoint: ServedEndpoint) -> None:
        super().__init__(endpoint.name)
        self.endpoint = endpoint
        self._shadows: set[asyncio.Task[None]] = set()

    async def healthy(self) -> bool:
        """Whether a generation is loaded."""
        return self.endpoint.serving is not None

    async def __call__(self, body: Any, headers: dict[str, str] | None = None, **_: Any) -> tuple[InferResponse, Any]:
        """Answer one request, by the arm that its key belongs to."""
        if not isinstance(body, InferRequest):
            raise InvalidInput("this server speaks the V2 protocol: POST /v2/models/<endpoint>/infer")
        serving, headers = self.endpoint.serving, headers or {}
        if serving is None:
            raise ModelNotReady(self.name)
        body.id = body.id or headers.get("x-request-id") or uuid.uuid4().hex
        tensors = _tensors(body)
        arm = headers.get("x-tradewind-arm") or (
            "canary" if in_canary(serving.generation, headers.get("x-tradewind-key") or body.id) else "stable"
        )
        if arm not in {"stable", "canary"} or (arm == "canary" and serving.generation.canary is None):
            raise InvalidInput(
                f"x-tradewind-arm is {arm!r}; this endpoint has now "
                + ("stable and canary" if serving.generation.canary else "stable alone")
            )
        try:
            answer = await self._answer(serving, tensors, arm)
        except BadRequestError as error:
            raise InvalidInput(str(error)) from error
        if serving.generation.capture and "x-tradewind-replay" not in headers:
            self.endpoint.capture.add(_captured(serving, answer, body.id))
        self._mirror(serving, tensors)
        return _response(body, serving, answer), {}

    async def _answer(self, serving: Serving, tensors: list[Tensor], arm: str) -> Answer:
        """By the arm, or by the stable one where a canary fails: the users of a canary do not pay for it."""
        digest = serving.generation.canary if arm == "canary" else serving.generation.stable
        assert digest is not None, "the caller has looked"
        model, started = serving.models[digest], time.perf_counter()
        try:
            sent, values = await _predict(model, tensors)
        except (BadRequestError, ModelFailedError) as error:
            if arm == "canary" and isinstance(error, BadRequestError):
                # Where the stable one cannot take it either, it is the client's fault and nobody's error.
                answer = await self._answer(serving, tensors, "stable")
                self._failed(serving, digest, arm, tensors, error)
                return answer
            if isinstance(error, BadRequestError):
                raise
            self._failed(serving, digest, arm, tensors, error)
            if arm == "canary":
                return await self._answer(serving, tensors, "stable")
            raise InferenceError(str(error)) from error
        seconds = time.perf_counter() - started
        serving.counters.answered(digest, seconds, point(values))
        REQUESTS.labels(self.name, arm, digest[:12], "answered").inc()
        SECONDS.labels(self.name, arm).observe(seconds)
        return Answer(arm, model, sent, values)

    def _failed(self, serving: Serving, digest: str, arm: str, tensors: list[Tensor], error: Exception) -> None:
        serving.counters.failed(digest, tensors[0].shape[0] if tensors[0].shape else 1)
        REQUESTS.labels(self.name, arm, digest[:12], "failed").inc()
        log.warning("%s: %s %s failed: %s", self.name, arm, digest[:12], error)

    def _mirror(self, serving: Serving, tensors: list[Tensor]) -> None:
        """Send a copy to the shadow, if there is one; nobody waits for its answer."""
        digest = serving.generation.shadow
        if digest is None or len(self._shadows) >= SHADOWS:
            return

        async def ask() -> None:
            started = time.perf_counter()
            try:
                _, answers = await _predict(serving.models[digest], tensors, inline=0)
                serving.counters.answered(digest, time.perf_counter() - started, point(answers))
            except (BadRequestError, ModelFailedError) as error:
                self._failed(serving, digest, "shadow", tensors, error)

        task = asyncio.get_running_loop().create_task(ask())
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    def metadata(self) -> dict[str, Any]:
        """V2 metadata, from the stable model's manifest."""
        serving = self.endpoint.serving
        if serving is None:
            raise ModelNotReady(self.name)
        stable = serving.models[serving.generation.stable]
        shape = [-1, len(stable.manifest.classes)] if stable.manifest.task == "multiclass" else [-1]
        return {
            "name": self.name,
            "versions": [serving.generation.model_versions.get(stable.digest, stable.digest[:12])],
            "platform": f"tradewind-{stable.manifest.framework}",
            "inputs": [{"name": name, "datatype": "FP64", "shape": [-1]} for name in stable.manifest.features],
            "outputs": [{"name": "predict", "datatype": "FP64", "shape": shape}],
        }


async def _predict(
    model: Loaded, tensors: list[Tensor], inline: int = INLINE
) -> tuple[Columns, npt.NDArray[np.float64]]:
    sent = columns(tensors, model.manifest.features)
    size = len(next(iter(sent.values()))) * len(model.manifest.features)
    return sent, model.answer(sent) if size <= inline else await asyncio.to_thread(model.answer, sent)


def _tensors(request: InferRequest) -> list[Tensor]:
    return [Tensor(tensor.name, tuple(tensor.shape), tensor.datatype, _data(tensor)) for tensor in request.inputs]


def _data(tensor: Any) -> Any:
    """JSON's list, gRPC's typed list, or the raw bytes of either."""
    raw = tensor._raw_data  # noqa: SLF001 - `as_numpy` would reshape, and fail, before we can say why
    if raw is None:
        return list(tensor.data) if tensor.data is not None else []
    if tensor.datatype == "BYTES":
        return deserialize_bytes_tensor(raw)
    kind = to_np_dtype(tensor.datatype)
    if kind is None or len(raw) % np.dtype(kind).itemsize:
        raise InvalidInput(f"column {tensor.name!r}: {len(raw)} bytes are no whole number of {tensor.datatype}")
    return np.frombuffer(raw, dtype=kind)


def _captured(serving: Serving, answer: Answer, id: str) -> Captured:
    """Features are kept as the model saw them: a column has one type, however a client sends it."""
    floats = {name: answer.sent[name].astype(np.float64, copy=False) for name in answer.model.manifest.features}
    return Captured(
        {**answer.sent, **floats},
        answer.values,
        answer.model.digest,
        answer.arm,
        serving.generation.number,
        id,
        datetime.now(UTC),
    )


def _response(request: InferRequest, serving: Serving, answer: Answer) -> InferResponse:
    output = InferOutput(name="predict", shape=list(answer.values.shape), datatype="FP64")
    binary = bool(request.use_binary_outputs)
    output.set_data_from_numpy(np.ascontiguousarray(answer.values), binary_data=binary or request.from_grpc)
    version = serving.generation.model_versions.get(answer.model.digest)
    parameters = {"digest": answer.model.digest, "generation": serving.generation.number, "arm": answer.arm}
    if version:
        parameters["version"] = version
    return InferResponse(
        response_id=request.id,
        model_name=serving.generation.endpoint,
        infer_outputs=[output],
        parameters=parameters,
        model_version=version,
        from_grpc=request.from_grpc,
        use_binary_outputs=binary,
        requested_outputs=request.request_outputs,
    )

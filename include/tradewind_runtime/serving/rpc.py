"""The V2 protocol by gRPC, bound to one address (KServe's own binds to all), with the same token and limit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from kserve.errors import InferenceError, InvalidInput, ModelNotReady
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer

from tradewind_runtime.serving.plane import Plane, ReadOnly
from tradewind_runtime.serving.rest import right


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """The same token as for REST, in the metadata."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Let a call through, or refuse it."""
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        if right(self._token, given):
            return await continuation(details)

        async def refuse(_request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is needed")

        return grpc.unary_unary_rpc_method_handler(refuse)


class StatusInterceptor(ExceptionToStatusInterceptor):  # type: ignore[misc]
    """KServe's, and a model's own failure is INTERNAL, not the client's."""

    async def handle_exception(self, ex: Exception, request_or_iterator: Any, context: Any, method_name: str) -> None:
        """Turn an exception into a status."""
        for kind, code in (
            (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
            (InferenceError, grpc.StatusCode.INTERNAL),
            (ModelNotReady, grpc.StatusCode.UNAVAILABLE),
            (NotImplementedError, grpc.StatusCode.UNIMPLEMENTED),
        ):
            if isinstance(ex, kind):
                await context.abort(code, str(ex))
        await super().handle_exception(ex, request_or_iterator, context, method_name)


async def start_grpc(address: str, plane: Plane, extension: ReadOnly, limit: int, token: str | None) -> tuple[Any, int]:
    """A gRPC server bound to the host alone, and its port."""
    interceptors = ([TokenInterceptor(token)] if token else []) + [StatusInterceptor()]
    server = grpc.aio.server(
        ThreadPoolExecutor(max_workers=2),
        interceptors=interceptors,
        options=[("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)],
    )
    grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceServicer(plane, extension), server)
    bound = server.add_insecure_port(address)
    await server.start()
    return server, bound

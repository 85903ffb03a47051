"""The V2 protocol by REST, with a limit to bodies, a token where there is one, and 400 for what is malformed."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kserve.errors import InferenceError, InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
from prometheus_client import Gauge

from tradewind_runtime.serving.plane import Plane, ReadOnly
from tradewind_runtime.serving.upkeep import Upkeep

GENERATION = Gauge("tradewind_generation", "The generation that is served.", ["endpoint"])
DROPPED = Gauge("tradewind_capture_dropped_rows", "Rows that were answered and not captured.", ["endpoint"])
#: Times the limit that is read and thrown away: a client that is cut off while it sends never sees the answer.
DRAIN = 4

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Guard:
    """In front of everything: a token, where there is one, and a limit to bodies (FastAPI has none)."""

    def __init__(self, app: Any, limit: int, token: str | None) -> None:
        self._app, self._limit, self._token = app, limit, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.lower(): value for key, value in scope["headers"]}
        open_to_all = scope["path"] in {"/v2/health/live", "/v2/health/ready"}
        given = headers.get(b"authorization", b"").decode("latin-1")
        if self._token and not open_to_all and not right(self._token, given):
            await self._refuse(401, "a bearer token is needed", scope, receive, send)
            return
        parts: list[bytes] = []
        size, more = 0, scope["method"] in {"POST", "PUT", "PATCH"}
        while more and size <= DRAIN * self._limit:
            message = await receive()
            if message["type"] != "http.request":
                return
            part = message.get("body", b"")
            size, more = size + len(part), message.get("more_body", False)
            if size <= self._limit:
                parts.append(part)
        if size > self._limit:
            await self._refuse(413, f"the body is larger than {self._limit} bytes", scope, receive, send)
            return
        body: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

        async def replay() -> MutableMapping[str, Any]:
            return body.pop() if body else await receive()

        await self._app(scope, replay, send)

    @staticmethod
    async def _refuse(status: int, message: str, scope: Scope, receive: Receive, send: Send) -> None:
        response = JSONResponse({"error": message}, status_code=status, headers={"connection": "close"})
        await response(scope, receive, send)


def right(token: str, header: str) -> bool:
    """Whether an Authorization header bears the token."""
    return hmac.compare_digest(header.encode(), f"Bearer {token}".encode())


def application(upkeep: Upkeep, plane: Plane, extension: ReadOnly, limit: int, token: str | None) -> Guard:
    """The ASGI application."""
    app = fastapi.FastAPI(title="Tradewind model server", docs_url=None, redoc_url=None, openapi_url=None)
    register_v2_endpoints(app, plane, extension)
    app.add_api_route("/", plane.live)

    async def metrics(request: fastapi.Request) -> fastapi.Response:
        for name, endpoint in list(upkeep.served.items()):
            GENERATION.labels(name).set(endpoint.serving.generation.number if endpoint.serving else 0)
            DROPPED.labels(name).set(endpoint.capture.dropped)
        found: fastapi.Response = await metrics_handler(request)
        return found

    app.add_api_route("/metrics", metrics, methods=["GET"])
    for kind, status in (
        (InvalidInput, 400),
        (InferenceError, 500),
        (ModelNotFound, 404),
        (ModelNotReady, 503),
        (ServerNotReady, 503),
        (NotImplementedError, 501),
        (RequestValidationError, 400),
    ):
        app.add_exception_handler(kind, _handler(status))
    return Guard(app, limit, token)


def _handler(status: int) -> Callable[[fastapi.Request, Exception], Awaitable[JSONResponse]]:
    async def handle(_request: fastapi.Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": _message(error)}, status_code=status)

    return handle


def _message(error: Exception) -> str:
    if not isinstance(error, RequestValidationError):
        return str(error)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}"
    where = [str(part) for part in first["loc"] if part not in {"body", "InferenceRequest"}]
    return f"the body is not a V2 request: {'.'.join(where)}: {first['msg']}"

"""Requests that may write do so one after the other; those that read wait for nobody."""

from __future__ import annotations

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tradewind.ui.turns import Turns


def test_writers_take_turns_also_after_one_that_failed() -> None:
    asyncio.run(_writers())


async def _writers() -> None:
    most, now = 0, 0

    async def write(request: Request) -> PlainTextResponse:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        if "bad" in request.query_params:
            raise OSError
        return PlainTextResponse("written")

    async with client(Route("/", write, methods=["POST", "PUT", "PATCH", "DELETE"])) as asking:
        asked = [asking.request(how, "/?bad" if how == "PUT" else "/") for how in ("POST", "PUT", "PATCH", "DELETE")]
        answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert most == 1


def test_readers_wait_for_nobody() -> None:
    asyncio.run(_readers())


async def _readers() -> None:
    read = asyncio.Event()

    async def answer(request: Request) -> PlainTextResponse:
        if request.method == "POST":
            await read.wait()  # a writer that ends only when another has read
        read.set()
        return PlainTextResponse(request.method)

    async with client(Route("/", answer, methods=["GET", "POST"])) as asking, asyncio.timeout(10):
        answers = await asyncio.gather(asking.post("/"), asking.get("/"))
    assert [found.text for found in answers] == ["POST", "GET"]


def client(route: Route) -> httpx.AsyncClient:
    app = Starlette(routes=[route], middleware=[Middleware(Turns)])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://here")

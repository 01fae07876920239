"""The yardstick for a chat's CPU time: Litestar and aiohttp hand on each request and its answer, and look at nothing.

`python -m benchmarks.passthrough PORT UPSTREAM` serves it as `guard serve` is served.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import uvicorn
from litestar import Litestar, Request, Response, post
from litestar.response import Stream

__all__ = ["passing_through"]


def passing_through(upstream: str) -> Litestar:
    """An application that hands on chats to the server at `upstream`."""

    @asynccontextmanager
    async def connected(app: Litestar) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as app.state.session:
            yield

    @post("/v1/chat/completions", status_code=200)
    async def chat(request: Request[Any, Any, Any]) -> Response[bytes] | Stream:
        body = await request.body()
        session: aiohttp.ClientSession = request.app.state.session
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        response = await session.post(f"{upstream}/v1/chat/completions", data=body, headers=headers)
        if response.content_type == "text/event-stream":
            return Stream(_parts(response), media_type="text/event-stream")
        async with response:
            return Response(await response.read(), status_code=response.status, media_type=response.content_type)

    return Litestar([chat], lifespan=[connected], openapi_config=None, logging_config=None)


async def _parts(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    async with response:
        async for part in response.content.iter_any():
            yield part


if __name__ == "__main__":
    uvicorn.run(
        passing_through(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        server_header=False,
    )

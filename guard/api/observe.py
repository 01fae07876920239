"""The outermost layer: a request id for every request, one event when it is done, and its span where it is traced.

A plain ASGI wrapper around the application: it also sees requests that match no route, and costs a
few microseconds where a framework middleware costs ten times that.
"""

import re
import time

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from guard.api.access import RESPONSE_HEADERS
from guard.api.ids import fresh_id
from guard.telemetry import OPEN_SPAN, REQUEST_ID, Listener, RequestDone, Tracer

__all__ = ["Observed"]

_ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._\-]{1,128}\Z")


class Observed:
    """Wraps an ASGI application. An `X-Request-Id` that the client sent is kept where it is harmless."""

    def __init__(self, app: ASGIApp, listener: Listener, tracer: Tracer | None = None) -> None:
        self._app = app
        self._listener = listener
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
        elif self._tracer is None:
            await self._observed(scope, receive, send)
        else:
            await self._traced(self._tracer, scope, receive, send)

    async def _traced(self, tracer: Tracer, scope: HTTPScope, receive: Receive, send: Send) -> None:
        span = tracer.begin(_traceparent(scope))
        # Also one that is not recorded: servers that are called are to learn it.
        token = OPEN_SPAN.set(span)
        try:
            with span:
                await self._observed(scope, receive, send)
        finally:
            OPEN_SPAN.reset(token)

    async def _observed(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = _request_id(scope)
        header = (b"x-request-id", request_id)
        shown = request_id.decode()
        status = 500
        more: list[tuple[bytes, bytes]] = []

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header, *more]
            await send(message)

        token = REQUEST_ID.set(shown)
        headers_token = RESPONSE_HEADERS.set(more)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            route = scope.get("path_template") or "unmatched"
            seconds = time.perf_counter() - started
            self._listener.on_event(RequestDone(str(route), scope["method"], status, seconds))
            REQUEST_ID.reset(token)
            RESPONSE_HEADERS.reset(headers_token)


def _request_id(scope: HTTPScope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTABLE_ID.match(value):
            return value
    return fresh_id().encode()


def _traceparent(scope: HTTPScope) -> bytes:
    """The trace that the client says its request is part of; empty where it says none, or several."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0] if len(found) == 1 else b""

"""What uvicorn's HTTP protocol leaves open: how many connections there may be, how large a request's head may be, and
how long its head and its body may take."""

import asyncio
import resource
from typing import Any

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from guard.api.errors import MEDIA_TYPE, BodyTooSlow, ProblemDetails
from guard.api.openai_errors import ErrorBody, OpenAIError
from guard.telemetry import Connections

__all__ = ["HEAD_SECONDS", "MOST_HEAD", "SPARE", "BoundedProtocol", "room"]

HEAD_SECONDS = 10.0
"""Seconds that a head may take, from the connection or from its first byte on."""
MOST_HEAD = 65_536
"""Bytes of a head that is not complete; past that, and what one read of the socket brings, it is refused."""
SPARE = 16
"""Connections past the bound that may still ask about health, and read why all else is refused."""
SPARE_SECONDS = 1.0
"""Seconds that the head may take on one of those."""
_OTHER_FILES = 256
"""Files and connections that the process opens besides: Redis, the judge, models, policies."""

_HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})
_CLOSE = (b"connection", b"close")
_FULL = "Guard has as many connections as it may (GUARD_MAX_CONNECTIONS); try again later"
_FULL_PROBLEM = msgspec.json.encode(
    ProblemDetails("urn:guard:problem:overloaded", "Too busy right now", 503, _FULL, limit="max_connections")
)
_FULL_OPENAI = msgspec.json.encode(ErrorBody(OpenAIError(_FULL, "server_error", code="overloaded")))
_FULL_AT_ONCE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: %s\r\ncontent-length: %d\r\nretry-after: 1\r\n"
    b"connection: close\r\n\r\n%s" % (MEDIA_TYPE.encode(), len(_FULL_PROBLEM), _FULL_PROBLEM)
)


def room(most: int) -> int:
    """How many connections there may be: `most`, or fewer where the system lets the process open too few files.

    Each may need a second one, to an upstream. The process's limit of open files is raised as far as the system allows.
    """
    needed = 2 * most + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            # Some systems have a bound of their own below the one that they tell.
            pass
    if soft == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (soft - _OTHER_FILES) // 2))


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol. A head that is too large is answered with 400; one that takes too long ends the connection.

    A body that takes longer than `body_seconds` makes reading it raise `BodyTooSlow`; where nobody reads it the
    connection ends. So it does where an answer waits and the client takes nothing of it for `unread_seconds`. Past
    `connections.room` a connection may ask about health and nothing else, and past `SPARE` of
    those not even that: the rest is 503. How large a body may be is bounded where it is read (`guard.api.body`).
    """

    def __init__(
        self, *args: Any, connections: Connections, body_seconds: float, unread_seconds: float, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._seats = connections
        self._body_seconds = body_seconds
        self._unread_seconds = unread_seconds
        self._unread: asyncio.TimerHandle | None = None
        self._heads = 0
        self._in_head = True
        self._incomplete = 0
        self._body: _SlowBody | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        seats = self._seats
        seats.open += 1
        if seats.open <= seats.room:
            self._wait(HEAD_SECONDS)
        elif seats.open <= seats.room + SPARE:
            self.app = _health_alone(self.app, seats)
            self._wait(SPARE_SECONDS)
        else:
            seats.refused += 1
            transport.write(_FULL_AT_ONCE)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._seats.open -= 1
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head, before = self._in_head, self._heads
        super().data_received(data)
        # Of data in which a head or a body has ended nobody knows how much is the next head's: less than a read.
        still = was_in_head and self._in_head and self._heads == before
        self._incomplete = self._incomplete + len(data) if still else 0
        # Most heads come whole, and their bodies with them: they need no clock.
        if self._late is None and not self.transport.is_closing():
            if still:
                self._wait(HEAD_SECONDS)
            elif not self._in_head:
                self._wait_for_body()
        if self._incomplete > MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        self._heads += 1
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        if self._late is not None:
            self._stop_waiting()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def _watch(self, size: int) -> None:
        self._unread = self.loop.call_later(self._unread_seconds, self._still_unread, size)

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _still_unread(self, before: int) -> None:
        """Nothing is added while so much waits: what has become less has been taken."""
        size = self.transport.get_write_buffer_size()
        if size < before:
            self._watch(size)
        else:
            # Closing would wait for the client to take it.
            self.transport.abort()

    def _wait(self, seconds: float) -> None:
        self._late = self.loop.call_later(seconds, self._too_late)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self.cycle is not None and not self.cycle.response_complete:
            # A second head behind a request that is still being answered: that one goes on.
            self._wait(HEAD_SECONDS)
        else:
            self.transport.close()

    def _wait_for_body(self) -> None:
        """Starts the clock of a body whose head is complete. The application has not begun to read it."""
        self._body = _SlowBody(self.cycle, self._body_seconds)
        self._late = self.loop.call_later(self._body_seconds, self._body_too_late)

    def _body_too_late(self) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            self.transport.close()
            return
        # Of a request that waits for one before it nothing is read: that is not its client's fault.
        if self._body is not None and all(cycle is not waiting for waiting, _ in self.pipeline):
            self._body.end()
        self._late = self.loop.call_later(self._body_seconds, self._body_too_late)


class _SlowBody:
    """Reads the body of a request for the application, until it is too late."""

    __slots__ = ("_cycle", "_late", "_receive", "_seconds")

    def __init__(self, cycle: RequestResponseCycle, seconds: float) -> None:
        self._cycle = cycle
        self._seconds = seconds
        self._late = False
        self._receive = cycle.receive
        # Set before the task of the request has run, so that the application gets this one.
        cycle.receive = self  # type: ignore[method-assign]

    def end(self) -> None:
        """Whoever is reading now, or reads next, is told that the body is late."""
        self._late = True
        self._cycle.message_event.set()

    async def __call__(self) -> Any:
        message = await self._receive()
        if self._late and message["type"] == "http.request" and message["more_body"]:
            raise BodyTooSlow(self._seconds)
        return message


def _health_alone(app: ASGIApp, seats: Connections) -> ASGIApp:
    """The application on a connection past the bound: it answers one question about health, and 503 to all else."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], _CLOSE]
            await send(message)

        path = scope["path"]
        if path in _HEALTH:
            await app(scope, receive, last)
            return
        seats.refused += 1
        openai = path.startswith(("/v1/", "/openai/"))
        body, kind = (_FULL_OPENAI, "application/json") if openai else (_FULL_PROBLEM, MEDIA_TYPE)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"1"),
        ]
        await last({"type": "http.response.start", "status": 503, "headers": headers})
        await last({"type": "http.response.body", "body": body, "more_body": False})

    return answer

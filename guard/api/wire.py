"""What uvicorn's HTTP protocol leaves open: how large a request's head may be, and how long it may take."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_SECONDS", "MOST_HEAD", "BoundedProtocol"]

HEAD_SECONDS = 10.0
"""Seconds that a head may take, from the connection or from its first byte on."""
MOST_HEAD = 65_536
"""Bytes of a head that is not complete; past that, and what one read of the socket brings, it is refused."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol. A head that is too large is answered with 400; one that takes too long ends the connection.

    Bodies are bounded where they are read (`guard.api.body`).
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._heads = 0
        self._in_head = True
        self._incomplete = 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head, before = self._in_head, self._heads
        super().data_received(data)
        # Of data in which a head or a body has ended nobody knows how much is the next head's: less than a read.
        still = was_in_head and self._in_head and self._heads == before
        self._incomplete = self._incomplete + len(data) if still else 0
        # Most heads come whole, and need no clock.
        if still and self._late is None:
            self._wait()
        if self._incomplete > MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        self._heads += 1
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self.cycle is not None and not self.cycle.response_complete:
            # A second head behind a request that is still being answered: that one goes on.
            self._wait()
        else:
            self.transport.close()

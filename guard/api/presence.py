"""Whether the client is still there: what nobody waits for any more is not worked on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar.types import Receive

from guard.api.errors import ClientGone

__all__ = ["gone", "while_present"]

_PATIENCE = 0.05
"""Seconds of work from which on it is worth to look: most requests are done by then."""


async def gone(receive: Receive) -> None:
    """Until the client has left; only for requests whose body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def while_present(receive: Receive) -> AsyncIterator[None]:
    """Work that is cancelled once the client has left.

    Raises:
        ClientGone: it has.
    """
    work = asyncio.current_task()
    assert work is not None
    watcher: asyncio.Task[None] | None = None
    left = False

    def leave(_: object) -> None:
        nonlocal left
        if watcher is not None and not watcher.cancelled() and watcher.exception() is None:
            left = True
            work.cancel()

    def watch() -> None:
        nonlocal watcher
        watcher = asyncio.get_running_loop().create_task(gone(receive))
        watcher.add_done_callback(leave)

    timer = asyncio.get_running_loop().call_later(_PATIENCE, watch)
    try:
        yield
    except asyncio.CancelledError:
        if left and work.uncancel() == 0:
            raise ClientGone("the client left before its answer was ready") from None
        raise
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.remove_done_callback(leave)
            watcher.cancel()

"""Whether the client is still there: what nobody waits for any more is not worked on."""

import asyncio

from litestar.types import Receive

from guard.api.errors import ClientGone

__all__ = ["gone", "while_present"]

_PATIENCE = 0.05
"""Seconds of work from which on it is worth to look: most requests are done by then."""


async def gone(receive: Receive) -> None:
    """Until the client has left; only for requests whose body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


class while_present:
    """`with while_present(receive)`: the work inside is cancelled once the client has left. For one task.

    Raises:
        ClientGone: it has.
    """

    __slots__ = ("_left", "_receive", "_timer", "_watcher", "_work")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._left = False

    def __enter__(self) -> None:
        self._work = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._watch)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.remove_done_callback(self._leave)
            self._watcher.cancel()
        ours = self._left and isinstance(error, asyncio.CancelledError)
        if ours and self._work is not None and self._work.uncancel() == 0:
            raise ClientGone("the client left before its answer was ready") from None

    def _watch(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(gone(self._receive))
        self._watcher.add_done_callback(self._leave)

    def _leave(self, watcher: asyncio.Task[None]) -> None:
        if self._work is not None and not watcher.cancelled() and watcher.exception() is None:
            self._left = True
            self._work.cancel()

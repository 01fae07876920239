"""Turns: who is served next where several wait, so that one caller's flood is that caller's own.

a tenant's texts wait in a queue of its own; the queues take turns, one piece of work each
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from guard.errors import Overloaded

__all__ = ["Turns"]

CROWD = 4
"""How many tenants may have their queues full at the same time."""


class Turns:
    """At most `slots` pieces of work at a time; of those that wait, each tenant's first in turn.

    A tenant may have `most` texts waiting or in work, all together `CROWD` times as many. For one event loop.
    """

    def __init__(self, slots: int, most: int) -> None:
        self._free = slots
        self._most = most
        self._texts: dict[str, int] = {}
        self._all = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Texts that wait or are in work."""
        return self._all

    @asynccontextmanager
    async def place(self, tenant: str, texts: int) -> AsyncIterator[None]:
        """So many texts of a tenant's are on their way, in as many turns as it likes.

        Raises:
            Overloaded: too many are already.
        """
        mine = self._texts.get(tenant, 0)
        if mine + texts > self._most or self._all + texts > CROWD * self._most:
            raise Overloaded(f"{mine} texts are in work; at most {self._most} may be")
        self._texts[tenant] = mine + texts
        self._all += texts
        try:
            yield
        finally:
            self._all -= texts
            self._texts[tenant] -= texts
            if not self._texts[tenant]:
                del self._texts[tenant]

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """One piece of work, when it is the tenant's turn."""
        if self._free and not self._queues:
            self._free -= 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._free += 1
            self._next()

    async def _wait(self, tenant: str) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                # Its turn came in the moment in which it left.
                self._free += 1
                self._next()
            raise

    def _next(self) -> None:
        while self._free and self._queues:
            tenant, queue = self._queues.popitem(last=False)
            first = queue.popleft()
            if queue:
                self._queues[tenant] = queue
            if not first.done():
                self._free -= 1
                first.set_result(None)

"""Turns: who is served next where several wait, so that one caller's flood is that caller's own.

`Turns` is for the screen: a tenant's texts wait in a queue of its own; the queues take turns, one piece of work each.
`Crowd` knows whether several tenants are there, and gives turns on the event loop.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from guard.errors import Overloaded

__all__ = ["Crowd", "Turns"]

CROWD = 4
"""How many tenants may have their queues full at the same time."""
LATELY = 1.0
"""Seconds for which a tenant is still there after its last request."""


class Turns:
    """At most `slots` pieces of work at a time; of those that wait, each tenant's first in turn.

    A tenant that has nothing in work does not wait for another's piece to end: up to `beside` such pieces run besides,
    one for each tenant. A tenant may have `most` texts waiting or in work, all together `CROWD` times as many. For one
    event loop.
    """

    def __init__(self, slots: int, most: int, *, beside: int = 0) -> None:
        self.slots = slots
        self._room = slots + beside
        self._most = most
        self._texts: dict[str, int] = {}
        self._all = 0
        self._running = 0
        self._pieces: Counter[str] = Counter()
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
        self.check(tenant, texts)
        self._texts[tenant] = self._texts.get(tenant, 0) + texts
        self._all += texts
        try:
            yield
        finally:
            self._all -= texts
            self._texts[tenant] -= texts
            if not self._texts[tenant]:
                del self._texts[tenant]

    def check(self, tenant: str, texts: int) -> None:
        """Raises Overloaded where `place` would."""
        mine = self._texts.get(tenant, 0)
        if mine + texts > self._most or self._all + texts > CROWD * self._most:
            raise Overloaded(f"{mine} texts are in work; at most {self._most} may be")

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """One piece of work, when it is the tenant's turn."""
        if tenant not in self._queues and self._may_begin(tenant):
            self._begin(tenant)
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._end(tenant)

    def _may_begin(self, tenant: str) -> bool:
        return self._running < self.slots or (self._running < self._room and tenant not in self._pieces)

    def _begin(self, tenant: str) -> None:
        self._running += 1
        self._pieces[tenant] += 1

    def _end(self, tenant: str) -> None:
        self._running -= 1
        self._pieces[tenant] -= 1
        if not self._pieces[tenant]:
            del self._pieces[tenant]
        while self._running < self._room:
            # Only tenants with something in work are passed over, so few are looked at, however many wait.
            following = next(filter(self._may_begin, self._queues), None)
            if following is None:
                break
            self._call(following)

    async def _wait(self, tenant: str) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                # Its turn came in the moment in which it left.
                self._end(tenant)
            raise

    def _call(self, tenant: str) -> None:
        """Lets the first of a tenant's queue begin, unless it has left; the tenant goes behind the others."""
        queue = self._queues.pop(tenant)
        first = queue.popleft()
        if queue:
            self._queues[tenant] = queue
        if not first.done():
            self._begin(tenant)
            first.set_result(None)


class Crowd:
    """Whether more than one tenant has come in the last second; and turns for work on the event loop.

    Such work is not awaited, so nobody can come in between: it is to be cut into parts of a millisecond or two, and
    each to begin with `turn`. For one event loop. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = ""
        self._changed = -LATELY
        self._turns = Turns(slots=1, most=0)

    def come(self, tenant: str) -> None:
        """A tenant's request is here."""
        if tenant != self._last:
            self._last = tenant
            self._changed = self._clock()

    @property
    def several(self) -> bool:
        """Whether tenants have come by turns in the last second."""
        return self._clock() - self._changed < LATELY

    async def turn(self, tenant: str) -> None:
        """Returns when it is the tenant's turn; at once where it is alone."""
        if self.several:
            async with self._turns.turn(tenant):
                # Once round the loop: what has come for others meanwhile gets in line.
                await asyncio.sleep(0)

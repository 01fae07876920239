"""Work that a replica does is not done by the others: claims on keys, and waiting for who holds them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from guard.cache import VerdictCache
from guard.verdict import Assessment

__all__ = ["Shared"]

_PAUSE_SECONDS = 0.005
_MAX_PAUSE_SECONDS = 0.05


class Shared:
    """One round of work on keys that replicas may have in common.

    `elsewhere`: those that another replica has worked on; `held`: those that this one has claimed,
    to be ended with `VerdictCache.set_many` or `release`.
    """

    def __init__(self, cache: VerdictCache, seconds: float) -> None:
        """A claim lasts `seconds`: so long does a holder that dies keep the others waiting."""
        self.elsewhere: set[bytes] = set()
        self.held: set[bytes] = set()
        self._cache = cache
        self._seconds = seconds

    async def run(
        self, keys: Sequence[bytes], work: Callable[[list[bytes]], Awaitable[dict[bytes, Assessment]]]
    ) -> dict[bytes, Assessment]:
        """What comes of each key, by `work` here or by another replica's there. What `work` raises is raised.

        It has no end of its own while others hold a key and go on: the caller bounds it.
        """
        found: dict[bytes, Assessment] = {}
        left = list(keys)
        pause = _PAUSE_SECONDS
        while left:
            claim = await self._cache.claim(left, self._seconds)
            mine = [key for key in left if key in claim.mine]
            self.held.update(mine)
            self.elsewhere.update(claim.known)
            found |= claim.known
            if mine:
                found |= await work(mine)
            left = [key for key in left if key not in found]
            if left:
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))
                pause = min(pause * 1.5, _MAX_PAUSE_SECONDS)
        return found

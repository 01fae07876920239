"""The cache of one process: bounded in entries, with a time to live, oldest use out first."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence

from guard.cache import Claim
from guard.verdict import Assessment

__all__ = ["MemoryCache"]


class MemoryCache:
    """An LRU of assessments. `entries` 0 switches it off; `ttl` is in seconds."""

    def __init__(self, *, entries: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries = entries
        self._ttl = ttl
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, Assessment]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get_many(self, keys: Sequence[bytes]) -> list[Assessment | None]:
        now = self._clock()
        return [self._get(key, now) for key in keys]

    def _get(self, key: bytes, now: float) -> Assessment | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= now:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept[1]

    async def set_many(self, entries: Mapping[bytes, Assessment]) -> None:
        until = self._clock() + self._ttl
        for key, assessment in entries.items():
            self._kept[key] = (until, assessment)
            self._kept.move_to_end(key)
        while len(self._kept) > self._entries:
            self._kept.popitem(last=False)

    async def claim(self, keys: Sequence[bytes], seconds: float) -> Claim:
        """Everything is the caller's: there is nobody else, and within the process `SingleFlight` sees to it."""
        return Claim(frozenset(keys), {})

    async def release(self, keys: Collection[bytes]) -> None:
        """Nothing was noted."""

    async def close(self) -> None:
        self._kept.clear()

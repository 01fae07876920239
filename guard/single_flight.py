"""Work that is under way already is waited for, not done twice."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Flown", "SingleFlight"]

K = TypeVar("K")
V = TypeVar("V")


class Flown(NamedTuple, Generic[K, V]):
    """What came of all keys, and which of them this caller has worked on itself."""

    found: dict[K, V]
    own: frozenset[K]


class SingleFlight(Generic[K, V]):
    """Runs work on keys, each by one caller at a time. For one event loop.

    Whoever comes later with the same key gets what came of it. Where the one who works on it fails or leaves, the next
    one of those who wait takes over: nobody is failed by somebody else's leaving.
    """

    def __init__(self) -> None:
        self._flying: dict[K, asyncio.Future[V | None]] = {}

    async def run(self, keys: Iterable[K], work: Callable[[list[K]], Awaitable[dict[K, V]]]) -> Flown[K, V]:
        """What `work` gives for the keys; it is called with those that nobody works on. What it raises is raised."""
        found: dict[K, V] = {}
        own: set[K] = set()
        left = list(dict.fromkeys(keys))
        while left:
            waiting = {key: self._flying[key] for key in left if key in self._flying}
            mine = [key for key in left if key not in waiting]
            if mine:
                found |= await self._fly(mine, work)
                own.update(mine)
            for key, future in waiting.items():
                value = await asyncio.shield(future)
                if value is not None:
                    found[key] = value
            left = [key for key in left if key not in found]
        return Flown(found, frozenset(own))

    async def _fly(self, keys: list[K], work: Callable[[list[K]], Awaitable[dict[K, V]]]) -> dict[K, V]:
        futures: dict[K, asyncio.Future[V | None]] = {key: asyncio.get_running_loop().create_future() for key in keys}
        self._flying |= futures
        found: dict[K, V] = {}
        try:
            found = await work(keys)
        finally:
            for key, future in futures.items():
                del self._flying[key]
                future.set_result(found.get(key))
        return found

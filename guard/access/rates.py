"""How much a key may use: token buckets, of this process alone or shared by replicas through Redis.

A shared bucket lies in Redis. A replica takes from it ahead, as much as a quarter of a second brings, and gives it out
by itself: so most requests cost Redis nothing, and all replicas together never give out more than the bucket had.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from guard.access.keys import Caller
from guard.errors import RateLimited

__all__ = ["Allowance", "Bucket", "Grant", "Limiter", "SharedBuckets"]

AHEAD_SECONDS = 0.25
"""How much of a shared bucket's flow a replica takes ahead."""
LEASE_SECONDS = 1.0
"""How long what was taken ahead may be given out; what is left then is lost."""
_MOST_BUCKETS = 100_000


class Allowance(NamedTuple):
    """What a key has left of one bound after a request: its size a minute, the rest, seconds until it is full again."""

    limit: int
    remaining: int
    full_in: float


class Grant(NamedTuple):
    """What came of asking a bucket: how much was given, how much is left, seconds until `least` would be there."""

    given: float
    left: float
    wait: float


class Bucket:
    """A token bucket: `limit` tokens at most, filled evenly within a minute."""

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._tokens = float(limit)
        self._at = now

    def take(self, want: float, least: float, now: float) -> Grant:
        """As much of `want` as there is, if that is `least`; else nothing."""
        self._tokens = min(float(self.limit), self._tokens + max(0.0, now - self._at) * self.limit / 60.0)
        self._at = now
        if self._tokens < least:
            return Grant(0.0, self._tokens, (least - self._tokens) * 60.0 / self.limit)
        given = min(want, self._tokens)
        self._tokens -= given
        return Grant(given, self._tokens, 0.0)


class SharedBuckets(Protocol):
    """Buckets that replicas share.

    `take` gives as much of `want` from the bucket `name` as there is, if that is `least`; None where nobody can say.
    """

    async def take(self, name: str, limit: int, want: float, least: float) -> Grant | None:
        """See above."""

    async def close(self) -> None:
        """Gives connections back."""


class _Lease:
    """What this replica took ahead of one shared bucket."""

    def __init__(self) -> None:
        self.tokens = 0.0
        self.until = 0.0
        self.left = 0.0
        self.lock = asyncio.Lock()


class Limiter:
    """Admits requests as far as their keys' rates allow. For one event loop."""

    def __init__(self, shared: SharedBuckets | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._clock = clock
        self._own: OrderedDict[str, Bucket] = OrderedDict()
        self._leases: OrderedDict[str, _Lease] = OrderedDict()

    async def admit(self, caller: Caller, characters: int) -> dict[str, Allowance]:
        """Takes a request and its characters from the caller's rates; what is left of each, by its name.

        Raises:
            RateLimited: not now; with the seconds to wait.
        """
        left: dict[str, Allowance] = {}
        rates = caller.rates
        for unit, limit, cost in (
            ("requests", rates.requests_per_minute, 1),
            ("characters", rates.characters_per_minute, characters),
        ):
            if limit is None:
                continue
            if cost > limit:
                raise RateLimited(f"{cost} {unit} at once; this key may use {limit} a minute", unit=unit, limit=limit)
            grant = await self._take(f"{caller.id}:{unit}", limit, cost)
            left[unit] = Allowance(limit, int(grant.left), (limit - grant.left) * 60.0 / limit)
            if not grant.given and cost:
                raise RateLimited(
                    f"this key may use {limit} {unit} a minute, and has used them",
                    unit=unit,
                    limit=limit,
                    retry_after=max(1, math.ceil(grant.wait)),
                )
        return left

    async def close(self) -> None:
        """Gives back what the shared buckets hold."""
        if self._shared is not None:
            await self._shared.close()

    async def _take(self, name: str, limit: int, cost: float) -> Grant:
        if self._shared is not None:
            grant = await self._leased(self._shared, name, limit, cost)
            if grant is not None:
                return grant
        # Without the shared one each replica counts by itself.
        bucket = self._own.get(name)
        if bucket is None or bucket.limit != limit:
            bucket = self._own[name] = Bucket(limit, self._clock())
        _used(self._own, name)
        return bucket.take(cost, cost, self._clock())

    async def _leased(self, shared: SharedBuckets, name: str, limit: int, cost: float) -> Grant | None:
        lease = self._leases.get(name)
        if lease is None:
            lease = self._leases[name] = _Lease()
        _used(self._leases, name)
        # One asks for all that wait: the others find what it brought.
        async with lease.lock:
            if lease.until < self._clock():
                lease.tokens = 0.0
            if lease.tokens < cost:
                ahead = limit / 60.0 * AHEAD_SECONDS
                grant = await shared.take(name, limit, cost - lease.tokens + ahead, cost - lease.tokens)
                if grant is None or not grant.given:
                    return grant
                lease.tokens += grant.given
                lease.left = grant.left
                lease.until = self._clock() + LEASE_SECONDS
            lease.tokens -= cost
            return Grant(cost, lease.left + lease.tokens, 0.0)


def _used(known: "OrderedDict[str, Bucket] | OrderedDict[str, _Lease]", name: str) -> None:
    known.move_to_end(name)
    if len(known) > _MOST_BUCKETS:
        known.popitem(last=False)

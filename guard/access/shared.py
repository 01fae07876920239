"""Buckets in Redis, which replicas share."""

import asyncio
import time
from collections.abc import Callable

from guard.access.rates import Grant
from guard.breaker import Breaker
from guard.redis_client import FAILURES, Client
from guard.telemetry import CacheFailed, CacheStateChanged, Listener, traced

__all__ = ["IN_FLIGHT", "RedisBuckets"]

_PREFIX = "guard:rate:"
_LIFE_MS = 120_000
IN_FLIGHT = 4
"""No more than the client has connections: redis-py raises when asked for more, and that says nothing of Redis."""
_TAKE = """\
local limit, want, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = limit
if known[1] and known[2] then
  tokens = math.min(limit, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * limit / 60)
end
local given = 0
if tokens >= least then
  given = math.min(want, tokens)
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens - given), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {string.format('%.6f', given), string.format('%.6f', tokens - given)}
"""


class RedisBuckets:
    """See `guard.access.rates.SharedBuckets`. Time is the Redis server's own; a breaker spares a sick one.

    The names of buckets are keys' ids: nothing else of a caller is in Redis. `timeout` bounds how long anybody waits,
    in seconds. What takes longer, as the first question to a Cluster may, goes on by itself, so that it can end well;
    nobody else waits meanwhile.
    """

    def __init__(
        self, client: Client, *, timeout: float, listener: Listener, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._listener = listener
        self._timeout = timeout
        self._take = client.register_script(_TAKE)
        self._client = client
        self._breaker = Breaker(clock)
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._running: set[asyncio.Task[Grant | None]] = set()
        self._late: set[asyncio.Task[Grant | None]] = set()

    async def take(self, name: str, limit: int, want: float, least: float) -> Grant | None:
        """See `SharedBuckets`."""
        with traced("rates", calls=True) as span:
            span.put("db.system.name", "redis")
            grant = await self._in_time(name, limit, want, least)
            if grant is None:
                span.failed("unavailable")
            return grant

    async def _in_time(self, name: str, limit: int, want: float, least: float) -> Grant | None:
        if self._late or self._breaker.refuses():
            return None
        asking: asyncio.Task[Grant | None] | None = None
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.acquire()
                asking = asyncio.create_task(self._ask(name, limit, want, least))
                self._running.add(asking)
                asking.add_done_callback(self._asked)
                return await asyncio.shield(asking)
        except TimeoutError:
            if asking is not None and not asking.done():
                self._late.add(asking)
            return None

    def _asked(self, asking: asyncio.Task[Grant | None]) -> None:
        self._slots.release()
        self._running.discard(asking)
        self._late.discard(asking)

    async def _ask(self, name: str, limit: int, want: float, least: float) -> Grant | None:
        if self._breaker.refuses():
            return None
        self._breaker.started()
        try:
            given, left = map(float, await self._take(keys=[_PREFIX + name], args=[limit, want, least, _LIFE_MS]))
        except FAILURES as exc:
            self._note(type(exc).__name__)
            return None
        except BaseException:
            self._breaker.abandoned()
            raise
        self._note("")
        return Grant(given, left, 0.0 if given else (least - left) * 60.0 / limit)

    def _note(self, error: str) -> None:
        """How a question has ended; of an error only its kind, for Redis may repeat what it was asked."""
        before = self._breaker.open
        if error:
            self._breaker.failed()
            self._listener.on_event(CacheFailed("rates", error))
        else:
            self._breaker.succeeded()
        if self._breaker.open != before:
            self._listener.on_event(CacheStateChanged("rates", "open" if self._breaker.open else "closed", error))

    async def close(self) -> None:
        """Gives up what is being asked, and disconnects."""
        running = list(self._running)
        for asking in running:
            asking.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._client.aclose()

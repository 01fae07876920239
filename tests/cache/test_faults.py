"""What a Redis may do to a service in the middle of its work: every request is answered, soon, and metrics tell."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from guard.access.shared import RedisBuckets
from guard.cache.redis import RedisCache
from guard.content import Content
from guard.moderator import Moderator
from guard.redis_client import connecting
from guard.telemetry import Listeners, PrometheusListener
from guard.testing import FixedScreen, a_policy
from tests.cache.conftest import Recorder
from tests.redis_server import Proxy, RedisServer

ADDED_SECONDS = 0.05
NOISE_SECONDS = 0.1

Fault = Callable[[RedisServer, Proxy], Awaitable[None]]


class Lag:
    """How late a thread of its own wakes up: what the machine adds, and no wait of the event loop does."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Lag":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.perf_counter()
        while not self._over.wait(0.002):
            now = time.perf_counter()
            self.worst = max(self.worst, now - before - 0.002)
            before = now


class Traffic:
    """Six clients that ask without a pause, each every text four times."""

    def __init__(self, moderator: Moderator) -> None:
        self.answers = 0
        self.slowest = 0.0
        self._moderator = moderator
        self._policy = a_policy()

    async def run(self, seconds: float) -> None:
        """Asks for so long; every answer must be right."""
        self.slowest = 0.0
        end = time.perf_counter() + seconds
        await asyncio.gather(*[self._client(number, end) for number in range(6)])

    async def _client(self, number: int, end: float) -> None:
        for turn in itertools.count(self.answers):
            started = time.perf_counter()
            if started > end:
                return
            text = Content(f"Good morning, {number} and {turn // 4}.")
            (verdict,) = (await self._moderator.moderate([text], self._policy)).verdicts
            assert verdict.categories["hate"].score == 0.95
            assert not verdict.degraded
            self.answers += 1
            self.slowest = max(self.slowest, time.perf_counter() - started)
            await asyncio.sleep(0.002)


@asynccontextmanager
async def traffic(port: int, registry: CollectorRegistry, recorder: Recorder) -> AsyncIterator[Traffic]:
    """Traffic through a moderator whose cache is at this port; no first level takes work off Redis."""
    listener = Listeners([PrometheusListener(registry), recorder])
    cache = RedisCache(f"redis://127.0.0.1:{port}/0", ttl=60, entries=0, listener=listener)
    screen = FixedScreen({"hate": 0.95, "violence": 0.0})
    moderator = Moderator(screen=screen, judge=None, cache=cache, secret=b"0123456789abcdef", listener=listener)
    yield Traffic(moderator)
    await moderator.close()


async def pause(server: RedisServer, _: Proxy) -> None:
    server.pause()


async def kill(server: RedisServer, _: Proxy) -> None:
    server.kill()


async def restart(server: RedisServer, _: Proxy) -> None:
    server.kill()
    await asyncio.sleep(0.2)
    await asyncio.to_thread(server.start)


async def fill(server: RedisServer, _: Proxy) -> None:
    await asyncio.to_thread(server.client.config_set, "maxmemory-policy", "noeviction")
    await asyncio.to_thread(server.client.config_set, "maxmemory", 1)


async def cut(_: RedisServer, proxy: Proxy) -> None:
    proxy.after = 40


@pytest.mark.parametrize(
    ("fault", "operation", "stays"),
    [(pause, "get", True), (kill, "get", True), (restart, "get", False), (fill, "set", True), (cut, "get", True)],
)
async def test_every_request_is_answered_soon(
    server: RedisServer, recorder: Recorder, fault: Fault, operation: str, stays: bool
) -> None:
    """Paused, killed, restarted, full, or cut in the middle of an answer: a fault adds a read's time limit at most, and
    once the breaker has learned nothing. The operator sees failures, and whether the cache is given up."""
    registry = CollectorRegistry()
    labels = {"operation": operation}
    async with Proxy(server.port) as proxy, traffic(proxy.port, registry, recorder) as clients:
        await clients.run(0.5)
        assert recorder.states(operation) == []
        before, usual = clients.answers, clients.slowest
        with Lag() as lag:
            learning = asyncio.create_task(clients.run(1.0))
            await asyncio.sleep(0.1)
            await fault(server, proxy)
            await learning
        assert clients.answers > before + 20
        assert clients.slowest < usual + ADDED_SECONDS + NOISE_SECONDS + 3 * lag.worst
        if stays:
            assert registry.get_sample_value("guard_cache_open", labels) == 1
            assert registry.get_sample_value("guard_cache_failures_total", labels) >= 3
        assert recorder.failures(operation)
        if fault is cut:
            assert proxy.cuts >= 3
        if fault is fill:
            assert recorder.failures("get") == []


@pytest.mark.parametrize("fault", [pause, kill, cut])
async def test_what_is_well_again_is_used_again(server: RedisServer, recorder: Recorder, fault: Fault) -> None:
    """Without a restart of the service, within seconds; the metrics say so."""
    registry = CollectorRegistry()
    async with Proxy(server.port) as proxy, traffic(proxy.port, registry, recorder) as clients:
        learning = asyncio.create_task(clients.run(0.6))
        await asyncio.sleep(0.1)
        await fault(server, proxy)
        await learning
        assert recorder.states("get")[:1] == ["open"]
        if fault is kill:
            await asyncio.to_thread(server.start)
        proxy.after = None
        server.resume()
        before = server.info("stats", "keyspace_hits")
        async with asyncio.timeout(30):
            while recorder.states("get")[-1] == "open" or server.info("stats", "keyspace_hits") == before:
                await clients.run(0.1)
        assert registry.get_sample_value("guard_cache_open", {"operation": "get"}) == 0


async def test_more_callers_than_connections_are_no_failure_of_the_rates(server: RedisServer) -> None:
    """A hundred keys may come at the same moment: each is told what there is for it."""
    buckets = RedisBuckets(connecting(server.url, timeout=2.0, connections=4), timeout=2.0, listener=Recorder())
    grants = await asyncio.gather(*[buckets.take(f"k{n}:requests", 100, 10, 1) for n in range(100)])
    assert [grant.given for grant in grants if grant is not None] == [10] * 100
    await buckets.close()

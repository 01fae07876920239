"""What a key may use in a minute: by one process, and by replicas that share a Redis."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.access.keys import Caller, Rates
from guard.access.rates import AHEAD_SECONDS, Bucket, Grant, Limiter
from guard.access.shared import RedisBuckets
from guard.errors import RateLimited
from guard.redis_client import connecting
from guard.telemetry import CacheFailed, CacheStateChanged
from guard.testing import Recorder, SteppingClock
from tests.redis_server import RedisServer, a_cluster


def a_caller(requests: int | None = None, characters: int | None = None, name: str = "k1") -> Caller:
    """A key with these rates."""
    return Caller(name, rates=Rates(requests, characters))


async def admitted(limiter: Limiter, caller: Caller, times: int, characters: int = 1) -> int:
    """How many of so many requests come in."""
    count = 0
    for _ in range(times):
        try:
            await limiter.admit(caller, characters)
        except RateLimited:
            continue
        count += 1
    return count


@given(st.integers(1, 100), st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 50)), max_size=60))
def test_a_bucket_never_gives_more_than_it_had_and_got(limit, steps):
    """Whenever and however much is asked for; what it refuses is there after the time that it says."""
    bucket, now, given_out = Bucket(limit, 0.0), 0.0, 0.0
    for pause, want in steps:
        now += pause
        grant = bucket.take(want, min(want, limit), now)
        given_out += grant.given
        assert given_out <= limit + now * limit / 60 + 1e-6
        assert 0 <= grant.left <= limit
        if not grant.given:
            now += grant.wait + 1e-6
            later = bucket.take(want, min(want, limit), now)
            assert later.given > 0
            given_out += later.given


async def test_requests_and_characters_are_counted():
    """Each against its own bound; a minute fills both."""
    clock = SteppingClock()
    limiter = Limiter(clock=clock)
    assert await admitted(limiter, a_caller(requests=5), 9) == 5
    assert await admitted(limiter, a_caller(characters=1_000, name="k2"), 9, characters=300) == 3
    assert await admitted(limiter, a_caller(name="k3"), 9) == 9
    clock.step(60)
    assert await admitted(limiter, a_caller(requests=5), 9) == 5


async def test_who_is_refused_is_told_when_to_come_again():
    """In whole seconds; what is more than a minute's worth never will be let in, and that is told too."""
    clock = SteppingClock()
    limiter = Limiter(clock=clock)
    caller = a_caller(requests=6, characters=100)
    left = await limiter.admit(caller, 40)
    assert (left["requests"].limit, left["requests"].remaining) == (6, 5)
    assert left["characters"].remaining == 60
    assert left["characters"].full_in == pytest.approx(24.0)
    with pytest.raises(RateLimited) as refused:
        await limiter.admit(caller, 90)
    assert (refused.value.unit, refused.value.limit, refused.value.retry_after) == ("characters", 100, 18)
    clock.step(18)
    await limiter.admit(caller, 90)
    with pytest.raises(RateLimited) as refused:
        await limiter.admit(caller, 101)
    assert refused.value.retry_after is None


async def test_a_changed_rate_counts_at_once():
    """A key that was given more may use more."""
    limiter = Limiter(clock=SteppingClock())
    assert await admitted(limiter, a_caller(requests=2), 5) == 2
    assert await admitted(limiter, a_caller(requests=10), 20) == 10


class CountingBuckets:
    """Shared buckets in this process that count how often they are asked; `down` ones say nothing."""

    def __init__(self, clock: SteppingClock) -> None:
        self.asked = 0
        self.down = False
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    async def take(self, name: str, limit: int, want: float, least: float) -> Grant | None:
        """See `SharedBuckets`."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            return None
        return self._buckets.setdefault(name, Bucket(limit, self._clock())).take(want, least, self._clock())

    async def close(self) -> None:
        """Nothing to give back."""


async def test_most_requests_of_a_large_rate_ask_nobody():
    """A replica takes ahead what a quarter of a second brings; together they never give out more than there is."""
    clock = SteppingClock()
    shared = CountingBuckets(clock)
    replicas = [Limiter(shared, clock=clock) for _ in range(3)]
    counts = await asyncio.gather(*[admitted(one, a_caller(requests=6_000), 4_000) for one in replicas])
    assert 6_000 - 3 * 6_000 / 60 * AHEAD_SECONDS <= sum(counts) <= 6_000
    # Those that were refused asked, each once.
    assert shared.asked - (12_000 - sum(counts)) <= 6_000 / (6_000 / 60 * AHEAD_SECONDS) + 3


async def test_what_was_taken_ahead_does_not_last():
    """A replica that falls silent keeps its share for a second."""
    clock = SteppingClock()
    shared = CountingBuckets(clock)
    limiter = Limiter(shared, clock=clock)
    await limiter.admit(a_caller(requests=600), 1)
    await limiter.admit(a_caller(requests=600), 1)
    assert shared.asked == 1
    clock.step(1.5)
    await limiter.admit(a_caller(requests=600), 1)
    assert shared.asked == 2


async def test_without_the_shared_ones_each_counts_by_itself():
    """A Redis that is away neither lets everybody in nor keeps everybody out."""
    clock = SteppingClock()
    shared = CountingBuckets(clock)
    limiter = Limiter(shared, clock=clock)
    shared.down = True
    assert await admitted(limiter, a_caller(requests=5), 9) == 5
    shared.down = False
    clock.step(2)
    await limiter.admit(a_caller(requests=5), 1)


async def test_replicas_share_a_real_redis(redis_server: RedisServer):
    """All together let in what the key may use, and what time has brought meanwhile."""
    buckets = [
        RedisBuckets(connecting(redis_server.url, timeout=2.0, connections=4), timeout=2.0, listener=Recorder())
        for _ in range(3)
    ]
    replicas = [Limiter(one) for one in buckets]
    started = time.monotonic()
    counts = await asyncio.gather(*[admitted(one, a_caller(requests=120), 100) for one in replicas])
    brought = (time.monotonic() - started) * 120 / 60
    assert 120 - 3 * AHEAD_SECONDS * 2 <= sum(counts) <= 120 + brought + 1
    assert sorted(key.decode() for key in redis_server.client.scan_iter()) == ["guard:rate:k1:requests"]
    assert redis_server.client.pttl("guard:rate:k1:requests") > 60_000
    for one in buckets:
        await one.close()


async def test_a_redis_that_dies_is_left_alone_and_found_again(redis_server: RedisServer):
    """Requests keep their answers: the process counts by itself meanwhile, without waiting each time."""
    clock = SteppingClock()
    recorder = Recorder()
    bucket = RedisBuckets(
        connecting(redis_server.url, timeout=0.2, connections=4), timeout=0.2, listener=recorder, clock=clock
    )
    limiter = Limiter(bucket)
    await limiter.admit(a_caller(requests=60), 1)
    redis_server.kill()
    started = time.monotonic()
    assert await admitted(limiter, a_caller(requests=60, name="k2"), 100) == 60
    assert time.monotonic() - started < 2
    redis_server.start()
    clock.step(60)
    await limiter.admit(a_caller(requests=60, name="k3"), 1)
    assert redis_server.client.exists("guard:rate:k3:requests")
    await limiter.close()
    # The operator sees it as well.
    assert [event.operation for event in recorder.events if isinstance(event, CacheFailed)] == ["rates"] * 3
    states = [event.state for event in recorder.events if isinstance(event, CacheStateChanged)]
    assert states == ["open", "closed"]


@pytest.fixture
def silent() -> Iterator[list[str]]:
    """Addresses of five servers that let everybody in and say nothing."""
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        yield [f"127.0.0.1:{one.getsockname()[1]}" for one in listening]


async def test_opening_a_cluster_that_is_down_keeps_nobody_waiting(silent: list[str]):
    """Its nodes are tried one after the other, which takes a second here: each request waits its own time at most."""
    buckets = RedisBuckets(
        connecting(f"redis+cluster://{','.join(silent)}", timeout=0.2, connections=4), timeout=0.05, listener=Recorder()
    )
    limiter = Limiter(buckets)
    started = time.monotonic()
    await asyncio.gather(*[limiter.admit(a_caller(requests=60, name=f"k{n}"), 1) for n in range(50)])
    assert time.monotonic() - started < 0.4
    # As long as that is tried, nobody else waits at all.
    started = time.monotonic()
    assert await admitted(limiter, a_caller(requests=60, name="another"), 100) == 60
    assert time.monotonic() - started < 0.2
    started = time.monotonic()
    await limiter.close()
    assert time.monotonic() - started < 0.2


async def test_a_cluster_that_takes_long_to_open_is_used_once_it_is(
    silent: list[str], redis_binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who waited no longer has not ended the opening."""
    # The client would try the nodes in any order, the one that answers first every sixth time.
    monkeypatch.setattr("random.shuffle", lambda nodes: None)
    with a_cluster(redis_binary, tmp_path) as nodes:
        url = f"redis+cluster://{','.join(silent)},127.0.0.1:{nodes[0].port}"
        limiter = Limiter(RedisBuckets(connecting(url, timeout=0.2, connections=4), timeout=0.05, listener=Recorder()))
        async with asyncio.timeout(20):
            count = 0
            while not any(node.client.dbsize() for node in nodes):
                count += 1
                await limiter.admit(a_caller(requests=6_000, name=f"k{count}"), 1)
                await asyncio.sleep(0.05)
        assert count > 2
        await limiter.close()


async def test_a_connection_that_ends_under_the_write_is_a_redis_that_is_away():
    """uvloop has its own word for it, which is no OSError: no reason to fail the request."""

    class Client:
        def register_script(self, _):
            async def take(**_):
                raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

            return take

    limiter = Limiter(RedisBuckets(Client(), timeout=0.05, listener=Recorder()))
    assert await admitted(limiter, a_caller(requests=3), 5) == 3

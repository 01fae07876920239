"""RedisCache against a real server: few round trips, few connections, and nothing it does to us is an error."""

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import structlog
from prometheus_client import CollectorRegistry

from guard.breaker import Breaker
from guard.cache import FORMAT, CacheKeyer
from guard.cache.codec import encode
from guard.cache.redis import RedisCache
from guard.content import Content
from guard.errors import ConfigError
from guard.telemetry import CacheFailed, CacheStateChanged, Listeners, LogListener, PrometheusListener
from guard.text import normalise
from guard.verdict import Assessment

if TYPE_CHECKING:
    from tests.cache.conftest import Clock, OpenCache, Recorder
    from tests.redis_server import RedisServer

KEY = b"\x00\xffk" + b"k" * 29
OTHER = b"o" * 32
MARK = bytes([FORMAT])


def stored(key: bytes) -> bytes:
    return b"guard:v%d:" % FORMAT + key


async def fail_until_open(cache: RedisCache) -> None:
    for _ in range(3):
        assert await cache.get_many([KEY]) == [None]


async def hits_soon(cache: RedisCache, key: bytes) -> Assessment:
    """What the cache knows, once its connection is there again."""
    async with asyncio.timeout(5):
        while True:
            (found,) = await cache.get_many([key])
            if found is not None:
                return found
            await asyncio.sleep(0.01)


async def test_replicas_share_what_one_of_them_found(
    shared_server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """That is what Redis is there for."""
    one, other = open_cache(shared_server, entries=10), open_cache(shared_server, entries=10)
    await one.set_many({KEY: assessment})
    await shared_server.holds(1)
    assert await other.get_many([OTHER, KEY]) == [None, assessment]
    await one.close()
    await other.close()


async def test_the_server_never_sees_a_text(
    shared_server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """Keys are the prefix and a keyed hash, values are scores: a dump tells nobody what was said."""
    cache = open_cache(shared_server)
    content = Content("canary-in-the-coal-mine", role="canary-role")
    key = CacheKeyer(b"0123456789abcdef", screen="s", judge="j").key(content, normalise(content.text), "p")
    await cache.set_many({key: assessment})
    await cache.close()
    assert shared_server.client.keys() == [stored(key)]
    value = shared_server.client.get(stored(key))
    assert isinstance(value, bytes)
    assert b"canary" not in stored(key) + value


async def test_lives_are_spread_by_a_tenth(
    shared_server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """What was written together must not run out together and be judged all at once."""
    cache = open_cache(shared_server, ttl=1_000)
    await cache.set_many({b"%032d" % n: assessment for n in range(200)})
    await cache.close()
    lives = [shared_server.client.pttl(stored(b"%032d" % n)) / 1e6 for n in range(200)]
    assert 0.89 < min(lives) < 0.95
    assert 1.05 < max(lives) < 1.1


async def test_the_gets_of_one_turn_are_one_mget(
    shared_server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """Round trips cost more than keys; each caller still gets exactly its own answer."""
    cache = open_cache(shared_server)
    await cache.set_many({b"%032d" % n: Assessment(scores={}, windows=n) for n in range(100)})
    await shared_server.holds(100)
    before = shared_server.info("commandstats", "cmdstat_mget")
    answers = await asyncio.gather(*[cache.get_many([b"%032d" % n, b"%032d" % (n % 7), b"x" * 32]) for n in range(100)])
    assert shared_server.info("commandstats", "cmdstat_mget") == before + 1
    for n, (own, shared, missing) in enumerate(answers):
        assert own is not None
        assert own.windows == n
        assert shared is not None
        assert shared.windows == n % 7
        assert missing is None
    await cache.close()


async def test_the_sets_of_one_turn_are_one_pipeline(
    shared_server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """The server reads once from the socket, not once for each entry."""
    cache = open_cache(shared_server)
    await cache.get_many([KEY])
    await cache.set_many({KEY: assessment})
    await shared_server.holds(1)
    own = shared_server.info("stats", "total_reads_processed")
    own = shared_server.info("stats", "total_reads_processed") - own
    before = shared_server.info("stats", "total_reads_processed")
    await asyncio.gather(*[cache.set_many({b"%032d" % n: assessment}) for n in range(50)])
    await asyncio.sleep(0.1)
    assert shared_server.info("stats", "total_reads_processed") - before - own == 1
    assert shared_server.client.dbsize() == 51
    await cache.close()


async def test_concurrency_needs_no_more_than_four_connections(
    server: "RedisServer", open_cache: "OpenCache", recorder: "Recorder", assessment: Assessment
) -> None:
    """redis-py's pool raises when more is asked of it than it has; here that cannot happen."""
    cache = open_cache(server)
    before = server.info("stats", "total_connections_received")

    async def caller(number: int) -> None:
        for turn in range(10):
            key = b"%016d%016d" % (number, turn)
            await cache.set_many({key: assessment})
            await cache.get_many([key, KEY])
            await asyncio.sleep(0.001 * (number % 3))

    await asyncio.gather(*[caller(number) for number in range(300)])
    await cache.close()
    assert recorder.events == []
    assert server.info("stats", "total_connections_received") - before <= 4
    assert server.client.dbsize() == 3_000


async def test_a_large_request_is_one_operation_and_small_ones_do_not_pile_up(
    shared_server: "RedisServer", open_cache: "OpenCache"
) -> None:
    """An MGET takes 512 keys at most, except where a single request has more; nobody is left out."""
    cache = open_cache(shared_server)
    before = shared_server.info("commandstats", "cmdstat_mget")
    requests = [[b"%08d%024d" % (r, n) for n in range(200)] for r in range(6)]
    requests.append([b"large%027d" % n for n in range(2_000)])
    answers = await asyncio.gather(*[cache.get_many(keys) for keys in requests])
    assert [len(answer) for answer in answers] == [200] * 6 + [2_000]
    assert shared_server.info("commandstats", "cmdstat_mget") == before + 4
    await cache.close()


async def test_the_first_level_answers_for_a_few_seconds_without_redis(
    server: "RedisServer", open_cache: "OpenCache", clock: "Clock", assessment: Assessment
) -> None:
    """A repeated text costs no round trip; and what is flushed in Redis is soon gone everywhere."""
    cache = open_cache(server, entries=10)
    server.client.set(stored(KEY), encode(assessment))
    assert await cache.get_many([KEY]) == [assessment]
    server.client.flushall()
    clock.now += 4.9
    assert await cache.get_many([KEY]) == [assessment]
    clock.now += 0.2
    assert await cache.get_many([KEY]) == [None]
    await cache.close()


async def test_a_flushed_server_is_missed_and_filled_again(
    shared_server: "RedisServer", open_cache: "OpenCache", recorder: "Recorder", assessment: Assessment
) -> None:
    """Forgetting is what caches do: no failure, and the next write counts."""
    cache = open_cache(shared_server)
    await cache.set_many({KEY: assessment})
    await shared_server.holds(1)
    shared_server.client.flushall()
    assert await cache.get_many([KEY]) == [None]
    await cache.set_many({KEY: assessment})
    await shared_server.holds(1)
    assert await cache.get_many([KEY]) == [assessment]
    assert recorder.events == []
    await cache.close()


@pytest.mark.parametrize(
    "value",
    [b"", MARK, b"\x00", b"garbage", b"\xff" * 500, MARK + b"\xc1", b'{"scores": {}}', MARK + b"\x91" * 9_000],
    ids=["empty", "mark-only", "nul", "words", "ones", "reserved", "json", "nested"],
)
async def test_a_damaged_value_is_a_miss_that_the_next_write_heals(
    shared_server: "RedisServer",
    open_cache: "OpenCache",
    recorder: "Recorder",
    assessment: Assessment,
    value: bytes,
) -> None:
    """Somebody else's bytes under our key cost one judgement, and spoil no other key of the MGET."""
    cache = open_cache(shared_server)
    shared_server.client.set(stored(KEY), value)
    shared_server.client.set(stored(OTHER), encode(assessment))
    assert await cache.get_many([KEY, OTHER]) == [None, assessment]
    await cache.set_many({KEY: assessment})
    await cache.close()
    assert shared_server.client.get(stored(KEY)) == encode(assessment)
    assert recorder.events == []


async def test_a_value_of_another_type_is_a_miss(
    shared_server: "RedisServer", open_cache: "OpenCache", recorder: "Recorder", assessment: Assessment
) -> None:
    """A list under our key is damage like any other, and SET replaces it."""
    cache = open_cache(shared_server)
    shared_server.client.lpush(stored(KEY), b"x")
    assert await cache.get_many([KEY]) == [None]
    await cache.set_many({KEY: assessment})
    await cache.close()
    assert shared_server.client.get(stored(KEY)) == encode(assessment)
    assert recorder.events == []


async def test_a_killed_server_is_a_miss_and_its_restart_is_noticed(
    server: "RedisServer",
    open_cache: "OpenCache",
    recorder: "Recorder",
    clock: "Clock",
    assessment: Assessment,
) -> None:
    """Three failures open the breaker; after its time one request finds out that Redis is back."""
    cache = open_cache(server)
    await cache.set_many({KEY: assessment})
    await server.holds(1)
    server.kill()
    await fail_until_open(cache)
    assert recorder.states("get") == ["open"]
    await cache.get_many([KEY])
    assert len(recorder.failures("get")) == 3
    server.start()
    server.client.set(stored(KEY), encode(assessment))
    assert await cache.get_many([KEY]) == [None]
    clock.now += 1.0
    assert await cache.get_many([KEY]) == [assessment]
    assert recorder.states("get") == ["open", "closed"]
    await cache.close()


async def test_a_restart_between_two_requests_goes_unnoticed(
    server: "RedisServer", open_cache: "OpenCache", recorder: "Recorder", assessment: Assessment
) -> None:
    """Connections that died while nobody looked are replaced before they are used."""
    cache = open_cache(server)
    await cache.get_many([KEY])
    server.kill()
    server.start()
    server.client.set(stored(KEY), encode(assessment))
    await asyncio.sleep(0.05)
    assert await cache.get_many([KEY]) == [assessment]
    assert recorder.events == []
    await cache.close()


async def test_a_paused_server_costs_its_time_limit_and_then_nothing(
    server: "RedisServer",
    open_cache: "OpenCache",
    recorder: "Recorder",
    clock: "Clock",
    assessment: Assessment,
) -> None:
    """A server that hangs is worse than a dead one: each read ends in time, then the breaker is open."""
    cache = open_cache(server, timeout=0.05)
    server.client.set(stored(KEY), encode(assessment))
    assert await hits_soon(cache, KEY) == assessment
    server.pause()
    started = time.perf_counter()
    while not recorder.states("get"):
        once = time.perf_counter()
        assert await cache.get_many([KEY]) == [None]
        assert time.perf_counter() - once < 0.5
        await asyncio.sleep(0)
    assert time.perf_counter() - started < 5
    started = time.perf_counter()
    for _ in range(100):
        assert await cache.get_many([KEY]) == [None]
    assert time.perf_counter() - started < 0.5
    server.resume()
    clock.now += 1.0
    assert await hits_soon(cache, KEY) == assessment
    await cache.close()


async def test_a_half_open_breaker_lets_one_operation_through(
    server: "RedisServer", open_cache: "OpenCache", recorder: "Recorder", clock: "Clock"
) -> None:
    """A server that is barely back must not meet the whole crowd at once."""
    cache = open_cache(server, timeout=0.2)
    server.kill()
    await fail_until_open(cache)
    server.start()
    server.pause()
    clock.now += 1.0
    probe = asyncio.create_task(cache.get_many([KEY]))
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    crowd = [await cache.get_many([OTHER]) for _ in range(50)]
    assert time.perf_counter() - started < 0.1
    assert crowd == [[None]] * 50
    assert not probe.done()
    assert await probe == [None]
    server.resume()
    await asyncio.sleep(0.05)
    assert recorder.states("get") == ["open"]
    await cache.close()


async def test_a_full_server_refuses_writes_and_still_answers_reads(
    server: "RedisServer", open_cache: "OpenCache", recorder: "Recorder", assessment: Assessment
) -> None:
    """Reads and writes fail apart, and what the log says of it repeats neither key nor value."""
    cache = open_cache(server)
    server.client.set(stored(KEY), encode(assessment))
    server.client.config_set("maxmemory-policy", "noeviction")
    server.client.config_set("maxmemory", 1)
    async with asyncio.timeout(5):
        while not recorder.states("set"):
            await cache.set_many({OTHER: assessment})
            await asyncio.sleep(0.01)
    assert await cache.get_many([KEY]) == [assessment]
    assert recorder.states("get") == []
    assert set(recorder.failures("set")) == {"OutOfMemoryError"}
    await cache.close()


async def test_something_that_is_no_redis_is_a_miss(recorder: "Recorder", clock: "Clock") -> None:
    """A wrong port in the settings makes Guard slower, never wrong."""

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    babbler = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = babbler.sockets[0].getsockname()[1]
    cache = RedisCache(f"redis://127.0.0.1:{port}", ttl=60, entries=0, listener=recorder, clock=clock)
    await cache.set_many({KEY: Assessment(scores={})})
    async with asyncio.timeout(5):
        while not recorder.states("get"):
            assert await cache.get_many([KEY]) == [None]
    await cache.close()
    babbler.close()
    await babbler.wait_closed()


async def test_a_wrong_password_is_a_miss(shared_server: "RedisServer", recorder: "Recorder", clock: "Clock") -> None:
    """It is told to the operator, without the password."""
    url = shared_server.url.replace("redis://", "redis://somebody:open-sesame@")
    cache = RedisCache(url, ttl=60, entries=0, listener=recorder, timeout=2.0, clock=clock)
    await fail_until_open(cache)
    assert recorder.states("get") == ["open"]
    assert all("Authentication" in error for error in recorder.failures("get"))
    assert "open-sesame" not in repr(recorder.events)
    await cache.close()


async def test_a_caller_that_leaves_takes_nobody_along(
    shared_server: "RedisServer", open_cache: "OpenCache", recorder: "Recorder", assessment: Assessment
) -> None:
    """Callers of one turn share an operation, and a client that hangs up cancels only its own wait."""
    cache = open_cache(shared_server)
    shared_server.client.set(stored(KEY), encode(assessment))
    leaving, staying = (asyncio.create_task(cache.get_many([KEY])) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == [assessment]
    assert leaving.cancelled() or await asyncio.wait([leaving])
    assert recorder.events == []
    await cache.close()


async def test_closing_writes_what_is_waiting(
    shared_server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """A replica that is stopped hands over what it has just found out."""
    cache = open_cache(shared_server)
    await cache.set_many({b"%032d" % n: assessment for n in range(2_000)})
    await cache.close()
    assert shared_server.client.dbsize() == 2_000


async def test_closing_does_not_wait_for_a_server_that_hangs(
    server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """Shutdown is bounded, and silent."""
    cache = open_cache(server, timeout=30.0)
    await cache.get_many([KEY])
    server.pause()
    await cache.set_many({KEY: assessment})
    reading = asyncio.create_task(cache.get_many([KEY]))
    await asyncio.sleep(0.01)
    started = time.perf_counter()
    await cache.close()
    assert time.perf_counter() - started < 2.5
    assert await reading == [None]
    assert await cache.get_many([KEY]) == [None]


async def test_what_comes_while_redis_hangs_is_bounded(
    server: "RedisServer", open_cache: "OpenCache", assessment: Assessment
) -> None:
    """Writes that wait for a connection are forgotten past a number, instead of filling memory."""
    cache = open_cache(server, timeout=30.0)
    server.pause()
    for n in range(3_000):
        await cache.set_many({b"%032d" % n: assessment})
        await asyncio.sleep(0)
    assert len(cache._writes._waiting) <= 1_024
    server.resume()
    await cache.close()


def test_an_open_breaker_waits_longer_each_time_up_to_a_bound(clock: "Clock") -> None:
    """0.5 s, 1 s, 2 s … 30 s, each within a quarter: a Redis that stays away is asked ever less often."""
    breaker = Breaker(clock)
    for _ in range(2):
        breaker.started()
        breaker.failed()
        assert not breaker.open
    breaker.started()
    waits = []
    for _ in range(12):
        breaker.failed()
        assert breaker.open
        assert breaker.refuses()
        since = clock.now
        while breaker.refuses():
            clock.now += 0.01
        waits.append(clock.now - since)
        breaker.started()
        assert breaker.refuses()
    for wait, expected in zip(waits, [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30], strict=True):
        assert 0.74 * expected < wait < 1.26 * expected + 0.02
    assert len({round(wait, 2) for wait in waits[6:]}) > 1
    breaker.succeeded()
    assert not breaker.open
    assert not breaker.refuses()


def test_failures_that_come_in_late_lengthen_nothing(clock: "Clock") -> None:
    """Operations already under way when the breaker opens fail too; they say nothing new."""
    breaker = Breaker(clock)
    for _ in range(20):
        breaker.failed()
    clock.now += 0.65
    assert not breaker.refuses()


@pytest.mark.parametrize("url", ["http://h", "localhost:6379", "", "redis://:open-sesame@h:port/0"])
def test_a_bad_address_refuses_to_start_and_keeps_its_password(url: str) -> None:
    """The message names the setting and what to write, and repeats nothing of the address."""
    with pytest.raises(ConfigError, match="GUARD_REDIS_URL") as refused:
        RedisCache(url, ttl=60, entries=0, listener=Listeners())
    assert "open-sesame" not in str(refused.value)


def test_the_log_and_the_metrics_tell_of_failures() -> None:
    """One warning when the cache is given up, one line when it is back, and numbers to alert on."""
    registry = CollectorRegistry()
    with structlog.testing.capture_logs() as lines:
        listener = Listeners([LogListener(), PrometheusListener(registry)])
        listener.on_event(CacheFailed("get", "TimeoutError"))
        listener.on_event(CacheStateChanged("get", "open", "TimeoutError"))
        assert registry.get_sample_value("guard_cache_open", {"operation": "get"}) == 1
        listener.on_event(CacheStateChanged("get", "closed"))
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("cache_failed", "debug"),
        ("cache_opened", "warning"),
        ("cache_closed", "info"),
    ]
    assert registry.get_sample_value("guard_cache_failures_total", {"operation": "get"}) == 1
    assert registry.get_sample_value("guard_cache_open", {"operation": "get"}) == 0


def test_the_moderator_needs_no_redis_client() -> None:
    """Who uses Guard as a library, without Redis, does not load its client."""
    program = "import sys, guard.moderator, guard.cache.memory; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

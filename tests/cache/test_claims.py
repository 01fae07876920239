"""Replicas that share a Redis judge a text once, and nobody waits for ever for one that has died."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from guard.cache import CacheKeyer, VerdictCache
from guard.cache.memory import MemoryCache
from guard.cache.redis import RedisCache
from guard.content import Content
from guard.moderator import Moderation, Moderator
from guard.policy import Policy
from guard.telemetry import ModerationFailed
from guard.testing import FixedScreen, ScriptedJudge, a_policy
from guard.text import normalise
from guard.verdict import Assessment
from tests.cache.conftest import Recorder
from tests.redis_server import RedisServer

SECRET = b"a secret of sixteen"
TEXT = Content("Is it going to rain tomorrow?")
KEY, OTHER = b"k" * 32, b"o" * 32
DONE = Assessment(scores={}, windows=7)

Cache = Callable[..., RedisCache]


@pytest.fixture
def cache(shared_server: RedisServer, recorder: Recorder) -> Cache:
    """Makes a replica's cache; without a first level, so that all that it knows comes from Redis."""

    def make(server: RedisServer = shared_server, timeout: float = 2.0) -> RedisCache:
        return RedisCache(server.url, ttl=60, entries=0, listener=recorder, timeout=timeout)

    return make


@asynccontextmanager
async def a_replica(
    cache: VerdictCache, judge: ScriptedJudge, recorder: Recorder, screen: FixedScreen | None = None
) -> AsyncIterator[Moderator]:
    """A moderator that finds every text doubtful."""
    screen = screen if screen is not None else FixedScreen({"hate": 0.5, "violence": 0.0})
    moderator = Moderator(screen=screen, judge=judge, cache=cache, secret=SECRET, listener=recorder)
    yield moderator
    await moderator.close()


def a_judge(**options: object) -> ScriptedJudge:
    return ScriptedJudge({"hate": 0.95}, **options)  # type: ignore[arg-type]


async def asked(moderator: Moderator, policy: Policy) -> Moderation:
    return await moderator.moderate([TEXT], policy)


def is_judged(moderation: Moderation) -> bool:
    (verdict,) = moderation.verdicts
    return not verdict.degraded and verdict.categories["hate"].score == 0.95


async def test_a_thousand_equal_requests_at_four_replicas_are_judged_once(
    cache: Cache, recorder: Recorder, shared_server: RedisServer
) -> None:
    """All get the judge's verdict; its tokens are counted at one request of the thousand, and no lock is left."""
    policy, judge = a_policy(), a_judge(delay=0.3)
    caches = [cache() for _ in range(4)]
    moderators = [
        Moderator(
            screen=FixedScreen({"hate": 0.5, "violence": 0.0}), judge=judge, cache=one, secret=SECRET, listener=recorder
        )
        for one in caches
    ]
    found = await asyncio.gather(*[asked(moderators[n % 4], policy) for n in range(1_000)])
    assert len(judge.asked) == 1
    assert all(is_judged(moderation) for moderation in found)
    assert sum(moderation.judge_tokens for moderation in found) == 10
    for moderator in moderators:
        await moderator.close()
    assert len(shared_server.client.keys()) == 1
    assert recorder.failures("set") == recorder.failures("get") == []


async def test_what_the_screen_settles_takes_no_lock(
    cache: Cache, recorder: Recorder, shared_server: RedisServer
) -> None:
    """Scoring again costs less than asking whether somebody else does."""
    screen = FixedScreen({"hate": 0.0, "violence": 0.0})
    before = shared_server.info("commandstats", "cmdstat_set")
    async with a_replica(cache(), a_judge(), recorder, screen) as moderator:
        await asked(moderator, a_policy())
    assert shared_server.info("commandstats", "cmdstat_set") == before + 1


async def test_a_holder_that_dies_costs_half_the_deadline(
    cache: Cache, recorder: Recorder, shared_server: RedisServer
) -> None:
    """Its lock runs out, one of the others takes over, and all of them are answered before their deadline."""
    policy, judge = a_policy(deadline_ms=1_500), a_judge(delay=0.05)
    key = CacheKeyer(SECRET, screen="fixed-1", judge="scripted-1").key(
        TEXT, normalise(TEXT.text), policy.assessment_fingerprint
    )
    dead = cache()
    assert (await dead.claim([key], 0.75)).mine == {key}
    started = time.perf_counter()
    async with a_replica(cache(), judge, recorder) as one, a_replica(cache(), judge, recorder) as other:
        found = await asyncio.gather(*[asked(one if n % 2 else other, policy) for n in range(20)])
        seconds = time.perf_counter() - started
    assert all(is_judged(moderation) for moderation in found)
    assert len(judge.asked) == 1
    assert 0.5 < seconds < 1.5
    await dead.close()


async def test_a_holder_whose_client_leaves_gives_its_claim_up(
    cache: Cache, recorder: Recorder, shared_server: RedisServer
) -> None:
    """Others go on at once; they do not wait for the lock's end, which would be five seconds away."""
    slow, quick = a_judge(delay=30), a_judge()
    async with a_replica(cache(), slow, recorder) as one, a_replica(cache(), quick, recorder) as other:
        leaving = asyncio.create_task(asked(one, a_policy()))
        async with asyncio.timeout(5):
            while not slow.asked:
                await asyncio.sleep(0.01)
        waiting = asyncio.create_task(asked(other, a_policy()))
        await asyncio.sleep(0.1)
        assert not quick.asked
        leaving.cancel()
        async with asyncio.timeout(2):
            assert is_judged(await waiting)


async def test_a_judge_that_fails_fails_nobody_elsewhere(cache: Cache, recorder: Recorder) -> None:
    """Each replica may have a judge of its own: the next one asks it."""
    broken, well = a_judge(fail="away", delay=0.2), a_judge()
    async with a_replica(cache(), broken, recorder) as one, a_replica(cache(), well, recorder) as other:
        failing = asyncio.create_task(asked(one, a_policy()))
        async with asyncio.timeout(5):
            while not broken.asked:
                await asyncio.sleep(0.01)
        assert is_judged(await asked(other, a_policy()))
        assert (await failing).verdicts[0].degraded
    assert [e.stage for e in recorder.events if isinstance(e, ModerationFailed)] == ["judge"]


async def test_without_redis_everybody_works_for_himself(server: RedisServer, cache: Cache, recorder: Recorder) -> None:
    """A lock that nobody can take is no reason to wait: also when Redis dies while others are waiting."""
    policy, judge = a_policy(), a_judge(delay=0.5)
    first, second = cache(server, 0.1), cache(server, 0.1)
    async with a_replica(first, judge, recorder) as one, a_replica(second, judge, recorder) as other:
        running = [asyncio.create_task(asked(moderator, policy)) for moderator in (one, other)]
        await asyncio.sleep(0.2)
        assert len(judge.asked) == 1
        server.kill()
        async with asyncio.timeout(4):
            assert all([is_judged(await task) for task in running])
        assert len(judge.asked) == 2
        assert is_judged(await asked(one, policy))


async def test_bulk_work_and_texts_that_grow_claim_nothing(cache: Cache, recorder: Recorder) -> None:
    """Who has all the time in the world must keep nobody waiting who has not."""
    judge = a_judge(delay=0.3)
    async with a_replica(cache(), judge, recorder) as one, a_replica(cache(), judge, recorder) as other:
        bulk = asyncio.create_task(one.moderate([TEXT], a_policy(), patient=True))
        await asyncio.sleep(0.1)
        started = time.perf_counter()
        await other.moderate([TEXT], a_policy(), remember=False)
        assert time.perf_counter() - started < 1
        await bulk
    assert len(judge.asked) == 2


async def test_claims_of_two_caches(cache: Cache, shared_server: RedisServer) -> None:
    """A key is one holder's until it is written, released, or the time is over."""
    one, other = cache(), cache()
    assert await one.claim([KEY, OTHER], 10) == (frozenset({KEY, OTHER}), {})
    assert await other.claim([KEY, OTHER], 10) == (frozenset(), {})
    await one.set_many({KEY: DONE})
    await one.release([OTHER])
    async with asyncio.timeout(5):
        while shared_server.client.keys("guard:lock:*"):
            await asyncio.sleep(0.01)
    assert await other.claim([KEY, OTHER], 0.1) == (frozenset({OTHER}), {KEY: DONE})
    await one.release([KEY, OTHER])
    assert await one.claim([OTHER], 10) == (frozenset(), {})
    await asyncio.sleep(0.15)
    assert await one.claim([OTHER], 10) == (frozenset({OTHER}), {})
    assert await MemoryCache(entries=1, ttl=1).claim([KEY], 1) == (frozenset({KEY}), {})
    await one.close()
    await other.close()


async def test_a_claim_waits_no_longer_than_a_read(server: RedisServer, cache: Cache) -> None:
    """A server that hangs makes the work everybody's own, in time."""
    one = cache(server, 0.05)
    assert await one.claim([KEY], 10) == (frozenset({KEY}), {})
    server.pause()
    started = time.perf_counter()
    assert await one.claim([OTHER], 10) == (frozenset({OTHER}), {})
    assert time.perf_counter() - started < 0.3
    server.resume()
    await one.close()

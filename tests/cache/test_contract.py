"""What every verdict cache promises, asked of each implementation."""

import asyncio
from typing import TYPE_CHECKING, Protocol, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.cache import FORMAT, VerdictCache
from guard.cache.codec import decode, encode
from guard.cache.memory import MemoryCache
from guard.cache.redis import RedisCache
from guard.telemetry import Listeners
from guard.verdict import Assessment, Hit, Score, Source, Span

if TYPE_CHECKING:
    from tests.cache.conftest import Clock
    from tests.redis_server import RedisServer

numbers = st.floats(allow_nan=False)
counts = st.integers(-(2**63), 2**64 - 1)
spans = st.builds(Span, counts, counts, numbers)
scores = st.builds(Score, numbers, st.sampled_from(get_args(Source)), st.lists(spans, max_size=3).map(tuple))
hits = st.builds(Hit, st.sampled_from(["terms", "patterns"]), st.text(), counts, counts)
assessments = st.builds(
    Assessment,
    scores=st.dictionaries(st.text(), scores, max_size=4),
    hits=st.lists(hits, max_size=3).map(tuple),
    windows=counts,
    judged=counts,
    judge_tokens=counts,
    failures=st.lists(st.text(), max_size=2).map(tuple),
)
"""Any at all, but for NaN, which equals nothing, and numbers of more than 64 bits."""


class Subject(Protocol):
    """One implementation, with what a test must be able to do to it."""

    def open(self, *, entries: int = 100, ttl: float = 60.0) -> VerdictCache:
        """A new cache."""

    def held(self, cache: VerdictCache) -> int:
        """Assessments that the process keeps for it."""

    async def age(self, seconds: float) -> None:
        """Lets time pass."""


class MemorySubject:
    def __init__(self, clock: "Clock") -> None:
        self._clock = clock

    def open(self, *, entries: int = 100, ttl: float = 60.0) -> VerdictCache:
        return MemoryCache(entries=entries, ttl=ttl, clock=self._clock)

    def held(self, cache: VerdictCache) -> int:
        assert isinstance(cache, MemoryCache)
        return len(cache)

    async def age(self, seconds: float) -> None:
        self._clock.now += seconds


class RedisSubject:
    def __init__(self, clock: "Clock", server: "RedisServer") -> None:
        self._clock = clock
        self._url = server.url

    def open(self, *, entries: int = 100, ttl: float = 60.0) -> VerdictCache:
        return RedisCache(self._url, ttl=ttl, entries=entries, listener=Listeners(), timeout=2.0, clock=self._clock)

    def held(self, cache: VerdictCache) -> int:
        assert isinstance(cache, RedisCache)
        return len(cache._near)

    async def age(self, seconds: float) -> None:
        self._clock.now += seconds
        await asyncio.sleep(seconds)


@pytest.fixture(params=["memory", "redis"])
def subject(request: pytest.FixtureRequest, clock: "Clock") -> Subject:
    if request.param == "memory":
        return MemorySubject(clock)
    return RedisSubject(clock, request.getfixturevalue("shared_server"))


def numbered(number: int) -> Assessment:
    return Assessment(scores={}, windows=number)


async def test_what_was_set_is_got_in_the_order_of_the_keys(subject: Subject) -> None:
    """The caller zips keys and answers, so the n-th answer belongs to the n-th key, repeats included."""
    cache = subject.open()
    await cache.set_many({b"%032d" % n: numbered(n) for n in range(20)})
    order = [7, 3, 19, 3, 0, 7]
    found = await cache.get_many([b"%032d" % n for n in order])
    assert found == [numbered(n) for n in order]
    await cache.close()


async def test_an_unknown_key_is_none_among_known_ones(subject: Subject) -> None:
    """A miss takes its place in the answer instead of shifting the others."""
    cache = subject.open()
    await cache.set_many({b"b" * 32: numbered(2)})
    assert await cache.get_many([b"a" * 32, b"b" * 32, b"c" * 32]) == [None, numbered(2), None]
    await cache.close()


async def test_nothing_asked_is_nothing_answered(subject: Subject) -> None:
    """A request may have no texts; that is no reason to talk to anybody."""
    cache = subject.open()
    assert await cache.get_many([]) == []
    await cache.set_many({})
    await cache.close()


async def test_the_last_value_of_a_key_counts(subject: Subject) -> None:
    """A better assessment may replace one that is already kept."""
    cache = subject.open()
    await cache.set_many({b"k" * 32: numbered(1)})
    await cache.set_many({b"k" * 32: numbered(2)})
    assert await cache.get_many([b"k" * 32]) == [numbered(2)]
    await cache.close()


async def test_an_assessment_lives_for_its_time_and_no_longer(subject: Subject) -> None:
    """Past the time to live and its spread of a tenth, nothing is left at any level."""
    cache = subject.open(ttl=0.4)
    await cache.set_many({b"k" * 32: numbered(1)})
    await subject.age(0.05)
    assert await cache.get_many([b"k" * 32]) == [numbered(1)]
    await subject.age(0.5)
    assert await cache.get_many([b"k" * 32]) == [None]
    await cache.close()


async def test_the_process_keeps_no_more_than_it_was_allowed(subject: Subject) -> None:
    """Memory is bounded however many texts pass by."""
    cache = subject.open(entries=10)
    for start in range(0, 300, 30):
        await cache.set_many({b"%032d" % n: numbered(n) for n in range(start, start + 30)})
        assert subject.held(cache) == 10
    await cache.close()


async def test_no_entries_means_that_the_process_keeps_nothing(subject: Subject) -> None:
    """GUARD_CACHE_ENTRIES=0 switches memory off, in front of Redis too."""
    cache = subject.open(entries=0)
    await cache.set_many({b"k" * 32: numbered(1)})
    assert subject.held(cache) == 0
    await cache.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.dictionaries(st.binary(min_size=32, max_size=32), assessments, min_size=1, max_size=5))
async def test_any_assessment_comes_back_as_it_went_in(subject: Subject, entries: dict[bytes, Assessment]) -> None:
    """Equal in every field and of the same types, for whatever a screen or a judge may find out."""
    cache = subject.open()
    await cache.set_many(entries)
    await cache.close()
    again = subject.open() if isinstance(subject, RedisSubject) else cache
    if again is cache:
        await cache.set_many(entries)
    assert await again.get_many(list(entries)) == list(entries.values())
    await again.close()


async def test_closing_leaves_nothing_in_the_process(subject: Subject) -> None:
    """After close the cache holds no assessment, and a second close is harmless."""
    cache = subject.open()
    await cache.set_many({b"k" * 32: numbered(1)})
    await cache.close()
    assert subject.held(cache) == 0
    await cache.close()


@settings(deadline=None)
@given(assessments)
def test_decoding_undoes_encoding(assessment: Assessment) -> None:
    """The codec loses nothing."""
    assert decode(encode(assessment)) == assessment


@settings(deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda rest: bytes([FORMAT]) + rest, st.binary(max_size=200)))
def test_decoding_never_raises(value: bytes) -> None:
    """Whatever lies in Redis, reading it gives an assessment or nothing."""
    assert isinstance(decode(value), Assessment | None)


@settings(deadline=None)
@given(assessments, st.data())
def test_a_value_cut_short_is_no_value(assessment: Assessment, data: st.DataObject) -> None:
    """Half an assessment must not pass for a whole one with defaults."""
    value = encode(assessment)
    assert decode(value[: data.draw(st.integers(0, len(value) - 1))]) is None


@settings(deadline=None)
@given(assessments, st.integers(0, 255).filter(lambda mark: mark != FORMAT))
def test_a_value_of_another_format_is_no_value(assessment: Assessment, mark: int) -> None:
    """Replicas of two versions share a Redis during a rollout; neither may read the other's scores."""
    assert decode(bytes([mark]) + encode(assessment)[1:]) is None

"""Real Redis servers for the cache's tests, and what looks on."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from guard.cache.redis import RedisCache
from guard.telemetry import CacheFailed, CacheStateChanged, Event
from guard.verdict import Assessment
from tests.redis_server import NO_SERVER, RedisServer, find_server


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def failures(self, operation: str) -> list[str]:
        return [e.error for e in self.events if isinstance(e, CacheFailed) and e.operation == operation]

    def states(self, operation: str) -> list[str]:
        return [e.state for e in self.events if isinstance(e, CacheStateChanged) and e.operation == operation]


@pytest.fixture(scope="session")
def redis_binary() -> str:
    binary = find_server()
    if binary is None:
        pytest.fail(NO_SERVER, pytrace=False)
    return binary


@pytest.fixture(scope="session")
def session_server(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    yield from _running(RedisServer(redis_binary, tmp_path_factory.mktemp("redis")))


@pytest.fixture
def shared_server(session_server: RedisServer) -> RedisServer:
    """An empty server that the test leaves running."""
    session_server.client.flushall()
    return session_server


@pytest.fixture
def server(redis_binary: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A server for this test alone, to be maltreated."""
    yield from _running(RedisServer(redis_binary, tmp_path))


def _running(server: RedisServer) -> Iterator[RedisServer]:
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.client.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


OpenCache = Callable[..., RedisCache]


@pytest.fixture
def open_cache(clock: Clock, recorder: Recorder) -> OpenCache:
    """Makes a cache on a server; patient, without a first level, unless the test says otherwise."""

    def open_on(server: RedisServer, **options: object) -> RedisCache:
        chosen: Mapping[str, object] = {"ttl": 60.0, "entries": 0, "timeout": 2.0} | options
        return RedisCache(server.url, listener=recorder, clock=clock, **chosen)  # type: ignore[arg-type]

    return open_on


@pytest.fixture
def assessment() -> Assessment:
    return Assessment(scores={}, windows=7)

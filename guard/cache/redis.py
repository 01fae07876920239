"""The cache that replicas share: Redis behind a small, short-lived first level in the process.

    get_many -> first level --miss--> reads of this turn of the event loop --> one MGET
    set_many -> first level --------> writes of this turn ------------------> one pipeline of SET PX
    claim    -----------------------> goes with the writes -----------------> SET NX PX of locks, then the entries

Nobody waits for a write, and for a read or a claim no longer than `timeout`. Reads and writes each have a
breaker: a Redis that is full refuses writes and still answers reads.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Sized
from typing import Any, Generic, Literal, TypeVar

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guard.breaker import Breaker
from guard.cache import FORMAT, Claim
from guard.cache.codec import decode, encode
from guard.cache.memory import MemoryCache
from guard.redis_client import FAILURES, connecting, pipelined, values
from guard.telemetry import CacheFailed, CacheStateChanged, Listener
from guard.verdict import Assessment

__all__ = ["RedisCache"]

_PREFIX = f"guard:v{FORMAT}:".encode()
_LOCK = f"guard:lock:v{FORMAT}:".encode()
_NEAR_SECONDS = 5.0
_TTL_JITTER = 0.1
_READS_IN_FLIGHT = 3
_WRITES_IN_FLIGHT = 1
_CLOSE_SECONDS = 0.5
_MAX_KEYS = 512
"""Keys of one operation, where a single request does not bring more."""
_MAX_WAITING = 1_024
"""Requests that wait for a connection; what comes past that is a miss or is forgotten."""

T = TypeVar("T", bound=Sized)


class RedisCache:
    """Assessments in Redis under keyed hashes; what fails is a miss, and a breaker spares a sick Redis.

    `ttl` is in seconds and spread by 10 % either way, so that what was written together does not
    run out together. `entries` bounds the first level, which keeps each at most five seconds (also
    past the end of its life in Redis); 0 switches it off. `timeout` bounds a read, in seconds.
    Concurrency costs no connections: there are never more than four. For one event loop.

    Raises:
        ConfigError: `url` is not a Redis address.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl: float,
        entries: int,
        listener: Listener,
        timeout: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = connecting(url, timeout=timeout, connections=_READS_IN_FLIGHT + _WRITES_IN_FLIGHT)
        self._ttl = ttl
        self._timeout = timeout
        self._near = MemoryCache(entries=entries, ttl=min(ttl, _NEAR_SECONDS), clock=clock)
        self._reads = _Lane("get", self._read, _miss, _READS_IN_FLIGHT, Breaker(clock), listener)
        self._writes: _Lane[_Write | _Claiming] = _Lane(
            "set", self._write, _forget, _WRITES_IN_FLIGHT, Breaker(clock), listener
        )
        self._claimed: set[bytes] = set()

    async def get_many(self, keys: Sequence[bytes]) -> list[Assessment | None]:
        found = await self._near.get_many(keys)
        missing = tuple({key: None for key, hit in zip(keys, found, strict=True) if hit is None})
        if not missing:
            return found
        question = _Question(missing)
        self._reads.put(question)
        try:
            async with asyncio.timeout(self._timeout):
                known = await question.answer
        except TimeoutError:
            return found
        return [known.get(key) if hit is None else hit for key, hit in zip(keys, found, strict=True)]

    async def set_many(self, entries: Mapping[bytes, Assessment]) -> None:
        await self._near.set_many(entries)
        if entries:
            self._writes.put(_Write(dict(entries), self._given_up(entries)))

    async def claim(self, keys: Sequence[bytes], seconds: float) -> Claim:
        claiming = _Claiming(tuple(keys), max(1, round(seconds * 1e3)))
        # Also those that are still to be answered: an answer that comes too late may have made a lock.
        self._claimed.update(claiming.keys)
        self._writes.put(claiming)
        try:
            async with asyncio.timeout(self._timeout):
                claim = await asyncio.shield(claiming.answer)
        except TimeoutError:
            return Claim(frozenset(keys), {})
        except asyncio.CancelledError:
            await self.release(keys)
            raise
        self._claimed.difference_update(set(keys) - claim.mine)
        return claim

    async def release(self, keys: Collection[bytes]) -> None:
        locks = self._given_up(keys)
        if locks:
            self._writes.put(_Write({}, locks))

    def _given_up(self, keys: Collection[bytes]) -> list[bytes]:
        """The locks on these keys that are this cache's, from now on no longer."""
        held = [key for key in keys if key in self._claimed]
        self._claimed.difference_update(held)
        return [_LOCK + key for key in held]

    async def close(self) -> None:
        """Writes what is waiting, for half a second at most, then disconnects."""
        await self._writes.close()
        await self._reads.close()
        await self._near.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.aclose()
        except FAILURES:
            return

    async def _read(self, questions: list["_Question"]) -> None:
        known = await self._entries(list({key: None for question in questions for key in question.keys}))
        for question in questions:
            question.settle(known)

    async def _entries(self, keys: list[bytes]) -> dict[bytes, Assessment]:
        """What Redis knows; the first level has it from now on as well."""
        known = {}
        for key, value in zip(keys, await values(self._client, [_PREFIX + key for key in keys]), strict=True):
            assessment = decode(value) if isinstance(value, bytes) else None
            if assessment is not None:
                known[key] = assessment
        await self._near.set_many(known)
        return known

    async def _write(self, items: list["_Write | _Claiming"]) -> None:
        commands: list[tuple[Any, ...]] = []
        for item in items:
            if isinstance(item, _Claiming):
                commands += [("SET", _LOCK + key, b"", "NX", "PX", item.milliseconds) for key in item.keys]
                continue
            for key, assessment in item.entries.items():
                life = self._ttl * random.uniform(1 - _TTL_JITTER, 1 + _TTL_JITTER)
                commands.append(("SET", _PREFIX + key, encode(assessment), "PX", max(1, round(life * 1e3))))
            # After the entries, so that whoever finds the lock gone finds them. The lock may have run out and
            # be another's by now: then work is done twice, which is no harm.
            commands += [("DEL", lock) for lock in item.locks]
        answers = iter(await pipelined(self._client, commands))
        claims = []
        for item in items:
            taken = [next(answers) for _ in range(len(item))]
            if isinstance(item, _Claiming):
                claims.append((item, {key for key, made in zip(item.keys, taken, strict=True) if made}))
        if claims:
            await self._settle(claims)

    async def _settle(self, claims: list[tuple["_Claiming", set[bytes]]]) -> None:
        """Answers claims. Entries are read after locks are taken: who held one may have written before it went."""
        keys = list({key: None for claiming, _ in claims for key in claiming.keys})
        known = await self._entries(keys)
        for claiming, made in claims:
            found = {key: known[key] for key in claiming.keys if key in known}
            claiming.settle(Claim(frozenset(made - found.keys()), found))
        needless = [_LOCK + key for _, made in claims for key in made & known.keys()]
        if needless:
            await pipelined(self._client, [("DEL", lock) for lock in needless])


class _Write:
    """Entries to keep, and locks that are given up with them."""

    def __init__(self, entries: dict[bytes, Assessment], locks: list[bytes]) -> None:
        self.entries = entries
        self.locks = locks

    def __len__(self) -> int:
        return len(self.entries) + len(self.locks)


class _Claiming:
    """The keys of one claim, and the future that gets what came of it."""

    def __init__(self, keys: tuple[bytes, ...], milliseconds: int) -> None:
        self.keys = keys
        self.milliseconds = milliseconds
        self.answer: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        return len(self.keys)

    def settle(self, claim: Claim) -> None:
        """Answers, unless that has been done."""
        if not self.answer.done():
            self.answer.set_result(claim)


class _Question:
    """The keys of one call, and the future that gets those of them that are known."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self.keys = keys
        self.answer: asyncio.Future[Mapping[bytes, Assessment]] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        return len(self.keys)

    def settle(self, known: Mapping[bytes, Assessment]) -> None:
        """Answers, unless the caller has been answered or has left."""
        if not self.answer.done():
            self.answer.set_result(known)


def _miss(questions: Sequence[_Question]) -> None:
    for question in questions:
        question.settle({})


def _forget(items: Sequence[_Write | _Claiming]) -> None:
    """Nobody waits for a write; a claim that cannot be made counts as made."""
    for item in items:
        if isinstance(item, _Claiming):
            item.settle(Claim(frozenset(item.keys), {}))


class _Lane(Generic[T]):
    """Gathers what is put in during one turn of the event loop and acts on it in one operation.

    At most `slots` operations run at a time; what comes meanwhile goes together with the next one.
    Everything put in is either acted on or refused.
    """

    def __init__(
        self,
        operation: Literal["get", "set"],
        act: Callable[[list[T]], Awaitable[None]],
        refuse: Callable[[Sequence[T]], None],
        slots: int,
        breaker: Breaker,
        listener: Listener,
    ) -> None:
        self._operation = operation
        self._act = act
        self._refuse = refuse
        self._slots = slots
        self._breaker = breaker
        self._listener = listener
        self._waiting: list[T] = []
        self._turn_ends: asyncio.Handle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def put(self, item: T) -> None:
        """Hands over an item; the operation starts when the current turn of the loop is over."""
        if self._closed or len(self._waiting) >= _MAX_WAITING:
            self._refuse([item])
            return
        self._waiting.append(item)
        if self._turn_ends is None:
            self._turn_ends = asyncio.get_running_loop().call_soon(self._start)

    async def close(self) -> None:
        """Lets what was put in finish, for half a second at most."""
        self._closed = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._waiting or self._running:
                    await asyncio.wait(self._running) if self._running else await asyncio.sleep(0)
        except TimeoutError:
            self._refuse(self._waiting)
            self._waiting = []
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self) -> None:
        """Starts operations for what is waiting, as far as slots and the breaker allow."""
        self._turn_ends = None
        while self._waiting:
            if self._breaker.refuses():
                refused, self._waiting = self._waiting, []
                self._refuse(refused)
            elif len(self._running) < self._slots:
                self._breaker.started()
                task = asyncio.get_running_loop().create_task(self._run(self._take()))
                self._running.add(task)
                task.add_done_callback(self._finished)
            else:
                return

    def _take(self) -> list[T]:
        count = keys = 0
        while count < len(self._waiting) and (not count or keys + len(self._waiting[count]) <= _MAX_KEYS):
            keys += len(self._waiting[count])
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def _run(self, items: list[T]) -> None:
        error = "interrupted"
        try:
            await self._act(items)
            error = ""
        except FAILURES as exc:
            error = _described(exc)
        finally:
            self._refuse(items)
            self._note(error)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _note(self, error: str) -> None:
        before = self._breaker.open
        if error:
            self._breaker.failed()
            self._listener.on_event(CacheFailed(self._operation, error))
        else:
            self._breaker.succeeded()
        if self._breaker.open != before:
            state: Literal["open", "closed"] = "open" if self._breaker.open else "closed"
            self._listener.on_event(CacheStateChanged(self._operation, state, error))


def _described(exc: Exception) -> str:
    """The error; of an answer only its kind, for Redis may repeat keys and values of the command.

    Of Sentinels that know no primary too: there redis-py may repeat how it logs in to them.
    """
    name = type(exc).__name__
    told = isinstance(exc, (RedisConnectionError, RedisTimeoutError, OSError)) and not isinstance(
        exc, MasterNotFoundError
    )
    return f"{name}: {exc}" if told else name

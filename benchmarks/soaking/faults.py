"""What goes wrong during a soak, when, and what each fault explains.

Three lanes run beside each other, so that faults meet; within a lane one ends before the next begins. Times are shares
of the soak, and what takes its own time (a replica's start) pushes back what follows in its lane. In the quiet shares
nothing is wrong.
"""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from benchmarks.soaking.client import Client, Done
from benchmarks.soaking.doubles import JudgeMode, UpstreamMode
from benchmarks.soaking.stage import JUDGE_SECONDS, LOUD_RATE, UPSTREAM_SECONDS, Stage, replaced
from benchmarks.soaking.traffic import Script

__all__ = ["QUIET", "SCHEDULE", "Faults", "Window"]

QUIET: Mapping[str, tuple[float, float]] = {"first": (0.08, 0.14), "middle": (0.46, 0.54), "last": (0.88, 1.0)}
"""Shares in which nothing is wrong. Both replicas are older than a tenth of the soak from the middle one on."""


class _Planned(NamedTuple):
    name: str
    start: float
    end: float


SCHEDULE: Mapping[str, tuple[_Planned, ...]] = {
    "places": (
        _Planned("replica_killed", 0.14, 0.17),
        _Planned("replica_drained", 0.23, 0.26),
        _Planned("redis_killed", 0.34, 0.38),
        _Planned("redis_paused", 0.41, 0.44),
        _Planned("redis_full", 0.55, 0.60),
        _Planned("redis_disconnects", 0.64, 0.69),
        _Planned("flood", 0.80, 0.86),
    ),
    "judge": (
        _Planned("judge_dead", 0.15, 0.19),
        _Planned("judge_slow", 0.30, 0.34),
        _Planned("judge_rubbish", 0.55, 0.59),
        _Planned("judge_failing", 0.68, 0.72),
        _Planned("judge_hesitates", 0.82, 0.86),
    ),
    "others": (
        _Planned("upstream_dead", 0.15, 0.19),
        _Planned("upstream_breaking", 0.27, 0.30),
        _Planned("upstream_silent", 0.33, 0.36),
        _Planned("policy_changed", 0.40, 0.41),
        _Planned("policy_broken", 0.55, 0.59),
        _Planned("keys_broken", 0.61, 0.65),
        _Planned("key_revoked", 0.67, 0.69),
        _Planned("slow_clients", 0.70, 0.84),
    ),
}
_NOTICED_SECONDS = 60.0
"""Within so long a running service knows a changed file, on a machine that is busy."""
_STUCK = 12


class Window(msgspec.Struct):
    """When a fault was there, in seconds since the soak's beginning. Until `healed` it may still show: a breaker that
    waits, a client that waits for its time limit.

    `seen` is what the fault left behind, `problems` what should have followed from it and did not.
    """

    name: str
    began: float
    ended: float = float("inf")
    healed: float = float("inf")
    seen: str = ""
    problems: list[str] = msgspec.field(default_factory=list)

    def met(self, done: Done) -> bool:
        """Whether a request was under way while the fault could show."""
        return done.began <= self.healed and done.ended >= self.began

    def explains(self, done: Done) -> bool:
        """Whether a request's outcome, which is not the usual one, follows from the fault."""
        if not self.met(done):
            return False
        match self.name:
            case "judge_dead" | "judge_slow" | "judge_rubbish" | "judge_failing":
                return done.outcome == "503 judge_failed"
            case "upstream_dead" | "upstream_breaking":
                return done.outcome in ("502 upstream_closed", "stream upstream_closed")
            case "upstream_silent":
                return done.outcome in ("504 upstream_timeout", "stream upstream_timeout")
            case "replica_killed":
                return done.replica == 0 and done.outcome in ("refused", "dropped")
            case "replica_drained":
                # What was on its way has to come to its end; what comes in the same moment may not be let in.
                late = done.outcome == "dropped" and done.began > self.began - 0.05
                return done.replica == 1 and (late or done.outcome == "refused")
            case "key_revoked":
                return done.ask.key == "leaving" and done.outcome == "401"
            case "flood":
                return done.ask.key == "loud" and done.outcome == "429"
        return False

    def degrades(self, done: Done) -> bool:
        """Whether it explains a verdict without the judge."""
        return self.name in ("judge_dead", "judge_slow", "judge_rubbish", "judge_failing") and self.met(done)


def _breaker_seconds(failing: float) -> float:
    """How long a breaker may stay open after a server that has failed for so long is well again: its waits double, so
    that the last is about as long as all before it, and are spread by a quarter."""
    return min(37.5, 1.25 * (failing + 1.0)) + 1.0


def _has(fingerprint: str, said: Mapping[str, str]) -> bool:
    """Whether a replica's policies are of this version."""
    return fingerprint in said.values()


class Faults:
    """Does to a stage what the schedule says. `windows` tells when what was wrong."""

    def __init__(self, stage: Stage, client: Client, script: Script, seconds: float) -> None:
        self.windows: list[Window] = []
        self._stage = stage
        self._client = client
        self._script = script
        self._seconds = seconds
        self._numbers = itertools.count(500_000)
        # A replica does not start with a broken file.
        self._files = asyncio.Lock()

    async def run(self) -> None:
        """All lanes, until the last fault is over."""
        await asyncio.gather(*[self._lane(planned) for planned in SCHEDULE.values()])

    async def _lane(self, planned: tuple[_Planned, ...]) -> None:
        for name, start, end in planned:
            await asyncio.sleep(max(0.0, start * self._seconds - self._client.now()))
            window = Window(name, self._client.now())
            self.windows.append(window)
            do: Callable[[Window, float], Awaitable[None]] = getattr(self, f"_{name.partition('_')[0]}")
            await do(window, (end - start) * self._seconds)
            window.ended = min(window.ended, self._client.now())
            window.healed = max(window.ended, window.healed if window.healed != float("inf") else 0.0)

    async def _probed(self, *kinds: str, replica: int | None = None) -> list[Done]:
        """Requests that surely meet the fault; what came of them."""
        asks = [self._script.of(kind, next(self._numbers)) for kind in kinds]
        return list(await asyncio.gather(*[self._client.send(ask, replica) for ask in asks]))

    # Redis: nobody notices, but for the metrics.

    async def _redis(self, window: Window, seconds: float) -> None:
        redis = self._stage.redis
        before = await self._cache_failures()
        probing = asyncio.create_task(self._asked_anew(seconds))
        match window.name:
            case "redis_killed":
                await asyncio.to_thread(redis.kill)
                await asyncio.sleep(seconds)
                await asyncio.to_thread(redis.start)
            case "redis_paused":
                redis.pause()
                await asyncio.sleep(seconds)
                redis.resume()
            case "redis_full":
                await asyncio.to_thread(redis.client.config_set, "maxmemory-policy", "noeviction")
                await asyncio.to_thread(redis.client.config_set, "maxmemory", 1)
                await asyncio.sleep(seconds)
                await asyncio.to_thread(redis.client.config_set, "maxmemory", 0)
            case _:
                await self._disconnected(seconds)
        await probing
        failures = await self._cache_failures() - before
        window.seen = f"{failures:.0f} operations of the cache failed"
        if failures <= 0:
            window.problems.append("no operation of the cache has failed")

    async def _asked_anew(self, seconds: float) -> None:
        """New texts all the while, each of which Redis is asked for and told."""
        for _ in range(6):
            await self._probed("new", "new")
            await asyncio.sleep(seconds / 8)

    async def _disconnected(self, seconds: float) -> None:
        redis = self._stage.redis
        end = self._client.now() + seconds
        while self._client.now() < end:
            await asyncio.to_thread(redis.client.execute_command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.to_thread(redis.client.execute_command, "CLIENT", "PAUSE", 400, "ALL")
            await asyncio.sleep(0.8)

    async def _cache_failures(self) -> float:
        found = [await replica.metrics() for replica in self._stage.replicas]
        return sum(one["guard_cache_failures_total"] for one in found)

    # The judge: verdicts are degraded, decisions fail.

    async def _judge(self, window: Window, seconds: float) -> None:
        judge = self._stage.judge
        modes: dict[str, JudgeMode] = {
            "judge_slow": "slow",
            "judge_rubbish": "rubbish",
            "judge_failing": "failing",
            "judge_hesitates": "hesitates",
        }
        calls = judge.calls
        if window.name in modes:
            judge.mode = modes[window.name]
        else:
            await judge.close()
        probing = asyncio.create_task(self._probed("doubtful", "decision", "doubtful", "decision"))
        await asyncio.sleep(seconds)
        # On a busy machine they may still be on their way.
        probes = await probing
        judge.mode = "well"
        if window.name not in modes:
            await judge.open()
        window.ended = self._client.now()
        seconds = window.ended - window.began
        if window.name == "judge_hesitates":
            window.healed = window.ended
            window.seen = f"{judge.calls - calls} calls were answered late"
            if judge.calls == calls:
                window.problems.append("the judge was not asked")
            return
        waited = JUDGE_SECONDS if window.name == "judge_slow" else 0.0
        window.healed = window.ended + waited + _breaker_seconds(seconds + waited)
        failed = sum(done.outcome == "503 judge_failed" for done in probes)
        window.seen = f"{failed} of 2 decisions failed"
        if not failed:
            window.problems.append("decisions were made without the judge")

    # The upstream: chats have its errors, and nothing else has.

    async def _upstream(self, window: Window, seconds: float) -> None:
        upstream = self._stage.upstream
        modes: dict[str, UpstreamMode] = {"upstream_breaking": "breaking", "upstream_silent": "silent"}
        if window.name in modes:
            upstream.mode = modes[window.name]
        else:
            await upstream.close()
        probing = asyncio.create_task(self._probed("slow_reader", "slow_reader", "slow_reader"))
        await asyncio.sleep(seconds)
        # On a busy machine they may still be on their way.
        probes = await probing
        upstream.mode = "well"
        if window.name not in modes:
            await upstream.open()
        window.ended = self._client.now()
        window.healed = window.ended + (UPSTREAM_SECONDS if window.name == "upstream_silent" else 0.5)
        failed = sum(not done.expected for done in probes)
        window.seen = f"{failed} of {len(probes)} streams failed"
        if failed < len(probes):
            window.problems.append("streams came to their end without an upstream")

    # Replicas: clients go to the other one.

    async def _replica(self, window: Window, seconds: float) -> None:
        number, how = (0, signal.SIGKILL) if window.name == "replica_killed" else (1, signal.SIGTERM)
        replica = self._stage.replicas[number]
        under_way = asyncio.create_task(self._probed("slow_stream", "slow_stream", "slow_stream", replica=number))
        await asyncio.sleep(0.3)
        window.began = self._client.now()
        code = await replica.ended(how)
        probes = await self._probed("new", "known", "output", replica=number)
        await asyncio.sleep(max(0.0, window.began + seconds - self._client.now()))
        async with self._files:
            await replica.start()
        await under_way
        elsewhere = sum(done.replica != number and done.expected for done in probes)
        window.seen = f"ended with {code}; {elsewhere} of {len(probes)} requests were answered by the other one"
        if elsewhere < len(probes):
            window.problems.append("the other replica did not answer for it")
        if how == signal.SIGTERM and code != 0:
            window.problems.append(f"it ended with {code} instead of 0")

    # Files: what is broken is kept out and told, what is right is used.

    async def _policy(self, window: Window, seconds: float) -> None:
        stage = self._stage
        if window.name == "policy_changed":
            # Twice: the heap keeps room for the policies before a change and after it, which is no growth later on.
            for number in (1, 2):
                fingerprint = stage.new_policy(number)
                await self._told(window, "policies", partial(_has, fingerprint))
            window.seen = "both replicas have the new policy, twice"
            return
        async with self._files:
            before = stage.broken_policy()
            await self._broken(window, seconds, "policies_rejected")
            replaced(stage.policies / "forum" / "policy.yaml", before)
            await self._told(window, "policies_rejected", lambda said: not said)

    async def _keys(self, window: Window, seconds: float) -> None:
        file = self._stage.keys_file
        async with self._files:
            before = file.read_text()
            replaced(file, before.replace("sha256:", "sha-256:"))
            await self._broken(window, seconds, "keys_rejected")
            replaced(file, before)
            await self._told(window, "keys_rejected", lambda said: not said)

    async def _broken(self, window: Window, seconds: float, field: str) -> None:
        """For as long as a file is broken: both replicas tell it, and go on with what they have."""
        await self._told(window, field, bool)
        await asyncio.sleep(max(0.0, window.began + seconds - self._client.now()))
        window.seen = "kept out and told by both replicas, until it was repaired"

    async def _key(self, window: Window, seconds: float) -> None:
        """It stays revoked: nothing of it is let in any more once both replicas know."""
        self._stage.revoke("leaving")
        end = self._client.now() + _NOTICED_SECONDS
        while {
            done.outcome
            for done in [*await self._probed("revoked", replica=0), *await self._probed("revoked", replica=1)]
        } != {"401"}:
            if self._client.now() > end:
                window.problems.append("a revoked key is still let in")
                break
            await asyncio.sleep(0.1)
        window.ended = self._client.now()
        window.healed = 1e9
        window.seen = f"nobody was let in with it after {window.ended - window.began:.1f} s"

    async def _told(self, window: Window, field: str, holds: Callable[[Any], object]) -> None:
        """Until /readyz of both replicas says so."""
        end = self._client.now() + _NOTICED_SECONDS
        for replica in self._stage.replicas:
            # One that is just starting tells nothing yet.
            while (said := await replica.ready()) is None or not holds(said[field]):
                if self._client.now() > end:
                    window.problems.append(f"{replica.name} does not tell it in `{field}`")
                    return
                await asyncio.sleep(0.05)

    # Clients: those that send too much are told so, those that are slow are served.

    async def _flood(self, window: Window, seconds: float) -> None:
        tasks = []
        end = self._client.now() + seconds
        while self._client.now() < end:
            tasks.append(asyncio.create_task(self._client.send(self._script.of("flood", next(self._numbers)))))
            await asyncio.sleep(1 / 60)
        told = await asyncio.gather(*tasks)
        admitted = sum(done.outcome == "200" for done in told)
        # A replica whose Redis is late counts by itself.
        most = 2 * (LOUD_RATE + (self._client.now() - window.began) * LOUD_RATE / 60 + 1)
        window.seen = f"{admitted} of {len(told)} requests were let in"
        if admitted > most:
            window.problems.append(f"more than {most:.0f} were let in")
        if admitted == len(told):
            window.problems.append("the rate was not enforced")

    async def _slow(self, window: Window, seconds: float) -> None:
        stuck = asyncio.create_task(self._stuck())
        end = self._client.now() + seconds
        served = 0
        while self._client.now() < end - 2.0 or not served:
            probes = await self._probed("dribbling", "slow_reader", "dribbling")
            served += sum(done.expected for done in probes)
        closed = await stuck
        window.seen = f"{served} slow requests were answered, {closed} of {_STUCK} heads without an end were closed"
        if closed < _STUCK:
            window.problems.append("heads without an end are waited for")

    async def _stuck(self) -> int:
        """Connections that begin a request and never go on; how many of them Guard closes."""

        async def one(number: int) -> bool:
            port = self._stage.replicas[number % 2].port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /moderate HTTP/1.1\r\nHost: guard\r\nX-Slow: ")
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(30.0):
                    await reader.read()
                    writer.close()
                    return True
            writer.close()
            return False

        return sum(await asyncio.gather(*map(one, range(_STUCK))))

"""The service as it runs in production: verdicts through Redis with keys and rates, two workers, steady load."""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from benchmarks.asking import prompt
from benchmarks.load import Load, Running, bare_litestar, guard_server, load
from benchmarks.record import write
from benchmarks.service import COMMAND, collector, sentence
from guard.access.keys import make, written
from tests.redis_server import NO_SERVER, RedisServer, find_server

__all__ = ["production", "steady", "workers"]

TEXTS = 500
"""Known texts that are asked for in turn."""
NEW = {"input": sentence(0) + " #"}
"""A text of 31 words that nobody has sent before."""


def production(rounds: int = 5, seconds: int = 4) -> None:
    """A verdict that Redis knows, with key, shared rates, metrics and 1 % traces, against an empty handler; in turn.

    Without a first level of its own the process asks Redis for every request; with it (the default) for those that it
    has forgotten.
    """
    bodies = [{"input": prompt(number)} for number in range(TEXTS)]
    with ExitStack() as stack:
        settings, headers = stack.enter_context(_surroundings())
        servers = {
            "redis": stack.enter_context(guard_server(8901, GUARD_CACHE_ENTRIES="0", **settings)),
            "first_level": stack.enter_context(guard_server(8903, **settings)),
            "bare": stack.enter_context(bare_litestar()),
        }
        found: dict[str, list[Load]] = {name: [] for name in servers}
        for server in servers.values():
            load(server, *bodies, seconds=4, headers=headers)
        for _ in range(rounds):
            for name, server in servers.items():
                found[name].append(load(server, *bodies, seconds=seconds, headers=headers))
    figures: dict[str, object] = {}
    for name, loads in found.items():
        ratios = [a.requests_per_second / b.requests_per_second for a, b in zip(loads, found["bare"], strict=True)]
        figures |= {
            f"{name}_requests_per_second": statistics.median(one.requests_per_second for one in loads),
            f"{name}_ratio": statistics.median(ratios),
            f"{name}_ratio_min": min(ratios),
            f"{name}_cpu_us": statistics.median(one.cpu_us for one in loads),
            f"{name}_p99_ms": statistics.median(one.p99 for one in loads),
            f"{name}_errors": sum(one.errors for one in loads),
        }
    figures["goal"] = "redis_ratio >= 0.5"
    write("production", f"{COMMAND} production", figures)


def workers(rounds: int = 5, seconds: int = 5) -> None:
    """Two processes on two cores against one, each with one thread for the encoder, the load generators beside them; in
    turn. The generators' own share of the cores grows with the requests: `cpu_us` is the servers' alone."""
    figures: dict[str, object] = {}
    with ExitStack() as stack:
        settings, headers = stack.enter_context(_surroundings())
        settings["GUARD_ENCODER_THREADS"] = "1"
        pair = [stack.enter_context(guard_server(port, **settings)) for port in (8901, 8903)]
        for name, body in (("new", NEW), ("known", {"input": sentence(0)})):
            one: list[float] = []
            two: list[float] = []
            cpu: dict[str, list[float]] = {"one": [], "two": []}
            for number in range(rounds + 1):
                alone = _together(pair[:1], body, headers, seconds)
                both = _together(pair, body, headers, seconds)
                if number:
                    # The first round finds cold caches.
                    one.append(sum(found.requests_per_second for found in alone))
                    two.append(sum(found.requests_per_second for found in both))
                    cpu["one"].append(alone[0].cpu_us)
                    cpu["two"].append(statistics.mean(found.cpu_us for found in both))
            ratios = [b / a for a, b in zip(one, two, strict=True)]
            figures |= {
                f"{name}_one_requests_per_second": statistics.median(one),
                f"{name}_two_requests_per_second": statistics.median(two),
                f"{name}_ratio": statistics.median(ratios),
                f"{name}_ratio_min": min(ratios),
                f"{name}_one_cpu_us": statistics.median(cpu["one"]),
                f"{name}_two_cpu_us": statistics.median(cpu["two"]),
            }
    figures["goal"] = "ratio >= 1.7"
    write("workers", f"{COMMAND} workers", figures)


def steady(seconds: int = 40, share: float = 0.7) -> None:
    """New texts of 31 words at 70 % of the most that the service takes, arriving at random (Poisson), whoever waits."""
    with ExitStack() as stack:
        settings, headers = stack.enter_context(_surroundings())
        server = stack.enter_context(guard_server(8901, **settings))
        load(server, NEW, seconds=3, headers=headers)
        most = load(server, NEW, seconds=10, connections=16, headers=headers).requests_per_second
        times = asyncio.run(_arriving(server, most * share, seconds, headers))
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[-1]
    figures = {
        "most_requests_per_second": most,
        "asked_requests_per_second": most * share,
        "requests": len(times),
        "p50_ms": p50 * 1e3,
        "p99_ms": p99 * 1e3,
        "ratio": p99 / p50,
        "goal": "p99 <= 5 x p50",
    }
    write("steady", f"{COMMAND} steady", figures)


@contextmanager
def _surroundings() -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Redis, a key with rates, a collector of traces: the settings of a server among them, and a client's headers."""
    binary = find_server()
    if binary is None:
        raise SystemExit(NO_SERVER)
    with tempfile.TemporaryDirectory() as folder, collector() as traces:
        key, secret = make("client", now=datetime.now(UTC), rates={"requests_per_minute": 10_000_000})
        file = Path(folder) / "keys.yaml"
        written(file, [key])
        redis = RedisServer(binary, Path(folder))
        redis.start()
        try:
            settings = {
                "GUARD_KEYS": str(file),
                "GUARD_REDIS_URL": redis.url,
                "GUARD_CACHE_SECRET": "of the benchmark alone",
                "GUARD_OTLP_ENDPOINT": traces,
                "GUARD_TRACE_SHARE": "0.01",
            }
            yield settings, {"Authorization": f"Bearer {secret}"}
        finally:
            redis.kill()


def _together(servers: list[Running], body: dict[str, str], headers: dict[str, str], seconds: int) -> list[Load]:
    """Each server under its own load, at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda server: load(server, body, seconds=seconds, headers=headers), servers))


async def _arriving(server: Running, rate: float, seconds: int, headers: dict[str, str]) -> list[float]:
    """Seconds of each request from when it was due, so that a late start counts."""
    waits = random.Random(1)
    times: list[float] = []

    async def one(session: aiohttp.ClientSession, number: int, due: float) -> None:
        async with session.post(f"{server.url}/moderate", json={"input": f"{sentence(0)} open{number}"}) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the service answers {answer.status} at {rate:.0f} requests a second")
        times.append(time.perf_counter() - due)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session, asyncio.TaskGroup() as group:
        due = begun = time.perf_counter()
        number = 0
        while due < begun + seconds:
            due += waits.expovariate(rate)
            number += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(session, number, due))
    return times

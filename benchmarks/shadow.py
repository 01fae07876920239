"""Shadows beside live traffic: what a candidate policy costs those who are answered."""

import asyncio
import http.client
import json
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import Running, guard_server
from benchmarks.record import write
from benchmarks.service import COMMAND, sentence

__all__ = ["shadow"]

REQUESTS = 400
CONNECTIONS = 16
SECONDS = 10.0
_CANDIDATE = "version: 1\nname: candidate\ndescription: Tried.\nextends: default\n"
_CANDIDATES = {
    "none": None,
    "same_scores": "patterns: {email: {category: pii, action: block}}\n",
    "own_scores": "terms: {one_word: {category: harassment, action: block, words: [grumpf]}}\n",
}
_POLICIES = Path(__file__).parents[1] / "policies"
_numbers = count()


def shadow() -> None:
    """Requests of new texts without a candidate, with one that has other thresholds, with one that reads for itself:
    one request after another, the servers in turn; then as many as can be answered, one server at a time."""
    figures: dict[str, object] = {"requests": REQUESTS, "connections": CONNECTIONS}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {
            name: stack.enter_context(guard_server(port, GUARD_POLICIES=str(_policies(Path(folder) / name, more))))
            for port, (name, more) in enumerate(_CANDIDATES.items(), start=8911)
        }
        for name, times in _in_turn(servers).items():
            figures[f"{name}_ms_median"] = statistics.median(times) * 1e3
            figures[f"{name}_ms_p99"] = statistics.quantiles(times, n=100)[-1] * 1e3
        for name, server in servers.items():
            before = _counted(server)
            figures[f"{name}_flood_requests_per_second"] = asyncio.run(_flood(server.url)) / SECONDS
            for what, value in _counted(server).items():
                figures[f"{name}_flood_{what}"] = value - before[what]
    figures["goal"] = "a candidate costs an answer nothing that can be told from noise"
    write("shadow", f"{COMMAND} shadow", figures)


def _policies(folder: Path, more: str | None) -> Path:
    shutil.copytree(_POLICIES, folder, ignore=shutil.ignore_patterns("cases"))
    if more is not None:
        (folder / "candidate").mkdir()
        (folder / "candidate" / "policy.yaml").write_text(_CANDIDATE + more, encoding="utf-8")
        (folder / "rollout.yaml").write_text("default: {shadow: [candidate]}\n", encoding="utf-8")
    return folder


def _in_turn(servers: dict[str, Running]) -> dict[str, list[float]]:
    """Seconds of requests, each server's turn of a few at a time, so that all meet the same weather."""
    times: dict[str, list[float]] = {name: [] for name in servers}
    connections = {name: http.client.HTTPConnection(server.url[7:]) for name, server in servers.items()}
    for turn in range(REQUESTS // 10 + 2):
        for name, connection in connections.items():
            for _ in range(10):
                begun = time.perf_counter()
                connection.request("POST", "/moderate", json.dumps({"input": sentence(next(_numbers))}))
                connection.getresponse().read()
                # The first ones find cold caches.
                if turn >= 2:
                    times[name].append(time.perf_counter() - begun)
            # What it still reads must not be in the way of the next one.
            time.sleep(0.2)
    return times


async def _flood(url: str) -> int:
    """How many requests of new texts are answered within the seconds."""
    until = time.perf_counter() + SECONDS
    answered = 0

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        while time.perf_counter() < until:
            async with session.post(f"{url}/moderate", json={"input": sentence(next(_numbers))}) as answer:
                await answer.read()
                answered += answer.status == 200

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        await asyncio.gather(*[one(session) for _ in range(CONNECTIONS)])
    return answered


def _counted(server: Running) -> dict[str, float]:
    """Texts that were compared and that were not."""
    connection = http.client.HTTPConnection(server.url[7:])
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = {"compared": 0.0, "dropped": 0.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "guard_shadow_verdicts_total":
                found["compared"] += sample.value
            elif sample.name == "guard_shadow_dropped_total":
                found["dropped"] += sample.value
    return found

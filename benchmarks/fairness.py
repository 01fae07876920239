"""One key's flood beside another key's single requests: how much later the other's answers come."""

import asyncio
import http.client
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple

import aiohttp
import psutil

from benchmarks.load import ROOT, Running, guard_server
from benchmarks.record import write
from benchmarks.service import COMMAND, sentence
from guard.access.keys import make, written
from guard.screen.encoder import Encoder

__all__ = ["fairness"]

ROUNDS = 8
REQUESTS = 60
"""Of each round, alone and beside."""


class Flood(NamedTuple):
    """Connections that send the next request as soon as the last one is answered.

    `sentences` of 30 words make a text; `known`: the same texts again and again, which the cache knows.
    """

    connections: int
    texts: int = 1
    sentences: int = 1
    known: bool = False


FLOODS = {
    "singles": Flood(64),
    "arrays": Flood(8, texts=64),
    "long": Flood(8, sentences=200),
    # More than a tenant's queue holds: most are refused, and come again at once.
    "refused": Flood(64, texts=64),
    "known": Flood(64, known=True),
    "known_arrays": Flood(8, texts=256, known=True),
}


class _Round(NamedTuple):
    """Seconds of a quiet key's requests, and what the flood got meanwhile."""

    alone: list[float]
    beside: list[float]
    answers: Counter[str]
    generator_cores: float


def fairness() -> None:
    """A quiet key's requests of new texts, in turn alone and beside a flood of each kind.

    `one_queue` is the first kind with keys of one tenant, as if there were no turns. `busy` is no flood: as many
    processes as there are cores read texts by themselves. Nothing then waits in Guard, so what it costs is what it
    costs to share the cores.
    """
    figures: dict[str, object] = {"rounds": ROUNDS, "requests_a_round": REQUESTS}
    for name, flood in FLOODS.items():
        figures |= _figures(name, _beside(flood, ("quiet", "loud")))
    figures |= _figures("one_queue", _beside(FLOODS["singles"], ("same", "same")))
    figures |= _figures("busy", _beside(None, ("quiet", "loud")))
    figures["goal"] = "p99 ratio <= 2 (flood, server and client on the same cores)"
    write("fairness", f"{COMMAND} fairness", figures)


def _figures(name: str, rounds: list[_Round]) -> dict[str, object]:
    """Of all rounds together; and the least and the greatest of the rounds' own ratios, which say how noisy it was."""
    figures: dict[str, object] = {}
    alone = [seconds for one in rounds for seconds in one.alone]
    beside = [seconds for one in rounds for seconds in one.beside]
    for percent in (50, 95, 99):
        first, second = _percentile(alone, percent), _percentile(beside, percent)
        figures[f"{name}_ms_p{percent}"] = f"{first * 1e3:.1f} -> {second * 1e3:.1f}"
        figures[f"{name}_p{percent}_ratio"] = second / first
    ratios = [_percentile(one.beside, 95) / _percentile(one.alone, 95) for one in rounds]
    figures[f"{name}_p95_ratio_of_rounds"] = f"{min(ratios):.2f} to {max(ratios):.2f}"
    answers = sum([one.answers for one in rounds], Counter())
    if answers:
        figures[f"{name}_flood_answers"] = dict(answers)
        figures[f"{name}_flood_generator_cores"] = statistics.median([one.generator_cores for one in rounds])
    return figures


def _percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


def _beside(flood: Flood | None, tenants: tuple[str, str]) -> list[_Round]:
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.yaml"
        (quiet, quiet_key), (loud, loud_key) = [
            make(key, now=datetime.now(UTC), tenant=tenant)
            for key, tenant in zip(("quiet", "loud"), tenants, strict=True)
        ]
        written(file, [quiet, loud])
        with guard_server(GUARD_KEYS=str(file)) as server:
            numbers = count(0, 10_000)
            # The first ones find cold caches.
            _times(server, quiet_key, next(numbers))
            for round_ in range(ROUNDS):
                alone = _times(server, quiet_key, next(numbers))
                answers: Counter[str] = Counter()
                cores: list[float] = []
                with _busy() if flood is None else _pouring(server, loud_key, flood, round_, answers, cores):
                    beside = _times(server, quiet_key, next(numbers))
                rounds.append(_Round(alone, beside, answers, statistics.fmean(cores) if cores else 0.0))
                _drained(server, loud_key)
    return rounds


def _times(server: Running, key: str, first: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    headers = {"Authorization": f"Bearer {key}"}
    times = []
    for number in range(first, first + REQUESTS):
        begun = time.perf_counter()
        connection.request("POST", "/moderate", json.dumps({"input": sentence(number)}), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body!r}")
        times.append(time.perf_counter() - begun)
    connection.close()
    return times


def _drained(server: Running, key: str) -> None:
    """Returns when nothing of the flood is in work any more: its own key's next text is then answered soon."""
    for number in count(9_000_000):
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        body = json.dumps({"input": sentence(number)})
        connection.request("POST", "/moderate", body, {"Authorization": f"Bearer {key}"})
        status = connection.getresponse().status
        connection.close()
        if status == 200 and time.perf_counter() - begun < 0.05:
            return
        time.sleep(0.2)


@contextmanager
def _pouring(
    server: Running, key: str, flood: Flood, number: int, answers: Counter[str], cores: list[float]
) -> Iterator[None]:
    """A flood of one's own process. `answers` gets its answers by status, `cores` how much CPU it used meanwhile."""
    asked = json.dumps([server.url, key, number, flood])
    command = [sys.executable, "-m", "benchmarks.fairness", asked]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"the flood ended before it had an answer: {flood}")
            time.sleep(0.5)
            used, begun = _cpu(process), time.perf_counter()
            yield
            cores.append((_cpu(process) - used) / (time.perf_counter() - begun))
        finally:
            process.terminate()
        answers.update(json.loads(process.stdout.readline() or "{}"))
    if process.returncode:
        raise RuntimeError(f"the flood failed: {flood}")


def _cpu(process: subprocess.Popen[str]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


@contextmanager
def _busy() -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.fairness"]
    with ExitStack() as stack:
        for _ in range(psutil.cpu_count() or 1):
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            stack.callback(process.terminate)
            assert process.stdout is not None
            process.stdout.readline()
        yield


def _read() -> None:
    encoder = Encoder.shipped()
    print("reading", flush=True)
    for number in count():
        encoder.read(sentence(number))


async def _pour(url: str, key: str, number: int, flood: Flood) -> None:
    """Prints a line with the first answer; at SIGTERM how many answers had which status."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    # The first text is new in each round and the others follow: none comes twice, unless they are to be known.
    numbers = count(100_000_000 + number * 1_000_000)
    answers: Counter[str] = Counter()

    def text() -> str:
        if flood.known:
            return sentence(next(numbers) % flood.texts)
        return " ".join([sentence(next(numbers)) for _ in range(flood.sentences)])

    async def one(session: aiohttp.ClientSession) -> None:
        while True:
            texts = [text() for _ in range(flood.texts)]
            async with session.post(f"{url}/moderate", json={"input": texts}) as answer:
                await answer.read()
                if not answers:
                    print("pouring", flush=True)
                answers[str(answer.status)] += 1

    connector = aiohttp.TCPConnector(limit=flood.connections)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {key}"}) as session:
        pouring = [asyncio.create_task(one(session)) for _ in range(flood.connections)]
        # A connection ends by itself only where it failed.
        await asyncio.wait([asyncio.create_task(told.wait()), *pouring], return_when=asyncio.FIRST_COMPLETED)
        for task in pouring:
            task.cancel()
        failed = [one for one in await asyncio.gather(*pouring, return_exceptions=True) if isinstance(one, Exception)]
    if failed:
        raise failed[0]
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server_url, loud, round_, shape = json.loads(sys.argv[1])
        asyncio.run(_pour(server_url, loud, round_, Flood(*shape)))
    else:
        _read()

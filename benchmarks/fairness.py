"""One key's flood beside another key's single requests: how much later the other's answers come."""

import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import aiohttp

from benchmarks.load import Running, guard_server
from benchmarks.record import write
from benchmarks.service import COMMAND, sentence
from guard.access.keys import make, written

__all__ = ["fairness"]

REQUESTS = 400
CONNECTIONS = 64


def fairness() -> None:
    """A quiet key's requests of new texts, alone and beside a flood; with keys of one tenant, as if there were none, to
    see what turns are worth."""
    figures: dict[str, object] = {"requests": REQUESTS, "connections_of_the_flood": CONNECTIONS}
    for name, tenants in (("turns", ("quiet", "loud")), ("one_queue", ("same", "same"))):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "keys.yaml"
            (quiet, quiet_key), (loud, loud_key) = [
                make(key, now=datetime.now(UTC), tenant=tenant)
                for key, tenant in zip(("quiet", "loud"), tenants, strict=True)
            ]
            written(file, [quiet, loud])
            with guard_server(GUARD_KEYS=str(file)) as server:
                alone = _times(server, quiet_key, 0)
                with _flood(server, loud_key):
                    beside = _times(server, quiet_key, 10_000_000)
        for kind, times in (("alone", alone), ("beside", beside)):
            figures[f"{name}_ms_median_{kind}"] = statistics.median(times) * 1e3
            figures[f"{name}_ms_p99_{kind}"] = statistics.quantiles(times, n=100)[-1] * 1e3
        figures[f"{name}_p99_ratio"] = float(figures[f"{name}_ms_p99_beside"]) / float(figures[f"{name}_ms_p99_alone"])  # type: ignore[arg-type]
    figures["goal"] = "p99 ratio <= 2 (flood, server and client on the same two cores)"
    write("fairness", f"{COMMAND} fairness", figures)


def _times(server: Running, key: str, first: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    headers = {"Authorization": f"Bearer {key}"}
    times = []
    for number in range(first, first + REQUESTS + 20):
        begun = time.perf_counter()
        connection.request("POST", "/moderate", json.dumps({"input": sentence(number)}), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body!r}")
        times.append(time.perf_counter() - begun)
    # The first ones find cold caches.
    return times[20:]


@contextmanager
def _flood(server: Running, key: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.fairness", server.url, key]
    with subprocess.Popen(command) as flood:
        time.sleep(2.0)
        try:
            yield
        finally:
            flood.terminate()


async def _pour(url: str, key: str) -> None:
    numbers = count(1_000_000)

    async def one(session: aiohttp.ClientSession) -> None:
        while True:
            async with session.post(f"{url}/moderate", json={"input": sentence(next(numbers))}) as answer:
                await answer.read()

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {key}"}) as session:
        await asyncio.gather(*[one(session) for _ in range(CONNECTIONS)])


if __name__ == "__main__":
    asyncio.run(_pour(sys.argv[1], sys.argv[2]))

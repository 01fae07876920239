"""A server process under load from wrk: requests a second, latencies, and the server's CPU time for each request."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

__all__ = ["Load", "Running", "bare_litestar", "cpu_seconds", "guard_server", "load", "started"]

ROOT = Path(__file__).parent.parent
BARE = """
import msgspec, sys, uvicorn
from litestar import Litestar, post
class Body(msgspec.Struct):
    input: str
class Answer(msgspec.Struct):
    ok: bool
@post("/moderate", status_code=200)
async def empty(data: Body) -> Answer:
    return Answer(True)
app = Litestar([empty], openapi_config=None, logging_config=None)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools",
            access_log=False, log_level="error")
"""


_SCRIPT = """
wrk.method = "POST"
wrk.headers = {%(headers)s}
local bodies = {%(bodies)s}
local number = 0
request = function()
  number = number + 1
  local body = bodies[(number - 1) %% #bodies + 1]
  if body:find("#", 1, true) then body = body:gsub("#", string.format("%%.0f", %(first)d + number)) end
  return wrk.format(nil, nil, nil, body)
end
"""


class Running(NamedTuple):
    """A server that answers."""

    url: str
    process: psutil.Process
    seconds_to_ready: float


class Load(NamedTuple):
    """What a load gave: medians and tails in milliseconds, the server's CPU time in microseconds a request."""

    requests_per_second: float
    p50: float
    p99: float
    cpu_us: float
    errors: int


@contextmanager
def started(
    command: list[str], port: int, path: str = "/", environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A server on `port`, from when it answers `path`, whatever it answers, until SIGTERM.

    Raises:
        RuntimeError: it ended before it answered.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
    env |= environment or {}
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url + path, process)
            yield Running(url, psutil.Process(process.pid), time.perf_counter() - begun)
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError(f"the server ended with {process.returncode} before it answered")


def guard_server(
    port: int = 8901, *, runner: Sequence[str] = ("-c", "from guard.cli import main; main()"), **environment: str
) -> AbstractContextManager[Running]:
    """`guard serve` with its default settings, but for what is given. `runner` are Python's arguments for `guard`."""
    env = {"GUARD_POLICIES": str(ROOT / "policies")} | environment
    return started([sys.executable, *runner, "serve", "--port", str(port)], port, "/readyz", env)


def bare_litestar(port: int = 8902) -> AbstractContextManager[Running]:
    """The yardstick: Litestar decodes a small JSON body and answers a small JSON body, nothing else."""
    return started([sys.executable, "-c", BARE, str(port)], port)


def cpu_seconds(server: Running) -> float:
    """CPU time that a server and the processes that it has started have used so far."""
    times = [process.cpu_times() for process in (server.process, *server.process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def load(
    server: Running,
    *bodies: dict[str, Any],
    seconds: int,
    connections: int = 32,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Sends `bodies` in turn to /moderate over keep-alive connections for `seconds`. A text's `#` becomes a number that
    comes only once."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("this benchmark needs wrk: apt-get install wrk")
    sent = {"Content-Type": "application/json"} | dict(headers or {})
    script = _SCRIPT % {
        "headers": ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in sent.items()),
        "bodies": ", ".join(json.dumps(json.dumps(body)) for body in bodies),
        "first": time.time_ns() // 1_000_000,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = server.process.cpu_times()
        command = [
            wrk,
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "-s",
            file.name,
            f"{server.url}/moderate",
        ]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = server.process.cpu_times()
    requests = int(_found(r"(\d+) requests in", text))
    cpu = (after.user + after.system) - (before.user + before.system)
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(
        requests_per_second=float(_found(r"Requests/sec:\s+([\d.]+)", text)),
        p50=_milliseconds(_found(r"\s50%\s+([\d.]+\w+)", text)),
        p99=_milliseconds(_found(r"\s99%\s+([\d.]+\w+)", text)),
        cpu_us=cpu / requests * 1e6,
        errors=int(errors[1]) if errors else 0,
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said nothing that matches {pattern!r}:\n{text}")
    return match[1]


def _milliseconds(value: str) -> float:
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        if value.endswith(unit):
            return float(value.removesuffix(unit)) * factor
    raise ValueError(value)

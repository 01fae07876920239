"""A running server, as users run it: the real command, the real encoder, a real socket."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from tests.doubles import JudgeServer, running_judge_server

ROOT = Path(__file__).parent.parent
START_SECONDS = 60

# The same examples on every run, so that a change is judged by what it changes; `make fuzz` looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("fuzz", max_examples=1_000, deadline=None)
settings.load_profile("same")


class Server:
    """A `guard serve` process: its address, a client, and everything that it logged."""

    def __init__(self, process: subprocess.Popen[str], url: str, lines: "queue.Queue[str]", logged: list[str]) -> None:
        self.process = process
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=60)
        self._lines = lines
        self._logged = logged

    def log(self) -> str:
        """All log lines so far."""
        while not self._lines.empty():
            self._logged.append(self._lines.get())
        return "".join(self._logged)

    def moderate(self, text: object, **fields: object) -> httpx.Response:
        """POST /moderate."""
        return self.client.post("/moderate", json={"input": text, **fields})


@contextmanager
def serving(cwd: Path = ROOT, **environment: str) -> Iterator[Server]:
    """Starts `guard serve` in a folder, on a free port, and stops it with SIGTERM."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
    env |= {
        "GUARD_POLICIES": str(ROOT / "policies"),
        "GUARD_PORT": "0",
        "GUARD_RELOAD_SECONDS": "0.1",
    } | environment
    command = [sys.executable, "-c", "from guard.cli import main; main()", "serve"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, cwd=cwd) as process:
        lines: queue.Queue[str] = queue.Queue()
        assert process.stderr is not None
        threading.Thread(target=lambda: [lines.put(line) for line in process.stderr], daemon=True).start()
        logged: list[str] = []
        running = None
        try:
            running = Server(process, _url(process, lines, logged), lines, logged)
            yield running
        finally:
            if running is not None:
                running.client.close()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _url(process: subprocess.Popen[str], lines: "queue.Queue[str]", logged: list[str]) -> str:
    """Waits for the event that says where the server listens."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        ended = process.poll() is not None
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            if ended:
                break
            continue
        logged.append(line)
        if '"service_started"' in line:
            url: str = json.loads(line)["url"]
            return url
    pytest.fail(f"the server did not start:\n{''.join(logged)}")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests that do not change it."""
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def start_server() -> Callable[..., "contextmanager[Server]"]:
    """For tests that need a server with settings of their own."""
    return serving


@pytest.fixture
def judge_server() -> Iterator[JudgeServer]:
    """A judge's server that only this test asks."""
    with running_judge_server() as running:
        yield running


@pytest.fixture(scope="module")
def module_judge_server() -> Iterator[JudgeServer]:
    """A judge's server for the tests of a module."""
    with running_judge_server() as running:
        yield running

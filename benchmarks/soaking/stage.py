"""Everything that runs during a soak: Redis, two replicas of `guard serve`, keys, policies, and the two doubles."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks.chat import policies
from benchmarks.load import ROOT
from benchmarks.soaking.doubles import Judge, Upstream
from benchmarks.soaking.traffic import TENANTS
from guard.access.keys import Key, Rates, make, read, revoked, written
from guard.policy import Policy
from guard.policy.loader import load_policies
from guard.service import pattern_names
from tests.redis_server import NO_SERVER, RedisServer, find_server, free_port

__all__ = ["CONTEXT_TOKENS", "DRAIN_SECONDS", "JUDGE_SECONDS", "LOUD_RATE", "Replica", "Stage", "on_stage", "replaced"]

JUDGE_SECONDS = 4.0
UPSTREAM_SECONDS = 3.0
DRAIN_SECONDS = 20
CONTEXT_TOKENS = 8_192
LOUD_RATE = 30
"""Requests a minute of the key that floods."""
_START_SECONDS = 60.0
_PLENTY = Rates(requests_per_minute=60_000, characters_per_minute=1_000_000_000)
_HELD = """\
version: 1
name: held
description: Nothing of a sentence leaves before its end, and what fails blocks.
extends: default
chat:
  streaming: {hold_back_ms: 60000}
when_judge_fails: block
when_screen_fails: block
"""
_FORUM = """\
version: 1
name: forum
description: A forum that changes its mind about hate.
extends: default
categories:
  hate:
    thresholds: {flag: %s, review: 0.8, block: 0.9}
"""
_BROKEN = "categories:\n  hate:\n    thresholds: {flag: 0.9, block: 0.2}\n"
_METRIC = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


def replaced(file: Path, text: str) -> None:
    """Puts another text in the place of a file's, at once: half a file of keys is a file with fewer keys."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


class Replica:
    """A `guard serve` that may be ended and started again. Its log goes to a file."""

    def __init__(self, name: str, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once it is ready.

        Raises:
            RuntimeError: it ended before; with the end of its log.
        """
        env = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
        env |= self._environment
        command = [sys.executable, "-c", "from guard.cli import main; main()", "serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 (a fork, and nothing is waited for)
                command, cwd=ROOT, env=env, stderr=log, stdout=log
            )
        until = time.monotonic() + _START_SECONDS
        while await self.ready() is None:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-2_000:]}")
            await asyncio.sleep(0.05)

    async def ready(self) -> dict[str, Any] | None:
        """What /readyz says; None where nobody answers."""
        said = await self._get("/readyz")
        return json.loads(said) if said else None

    async def metrics(self) -> Counter[str]:
        """Every metric's sum over its labels."""
        found: Counter[str] = Counter()
        for name, _, value in _METRIC.findall(await self._get("/metrics")):
            found[name] += float(value)  # type: ignore[assignment]
        return found

    async def _get(self, path: str) -> str:
        timeout = aiohttp.ClientTimeout(total=10.0)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self.url + path) as answer:
                return await answer.text()
        except (aiohttp.ClientError, OSError):
            return ""

    async def ended(self, how: signal.Signals) -> int:
        """Its exit code, once the signal has ended it."""
        assert self._process is not None
        self._process.send_signal(how)
        return await asyncio.to_thread(self._process.wait, DRAIN_SECONDS + 20)

    def kill(self) -> None:
        """Ends it, however it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def memory(self) -> tuple[int, int] | None:
        """Its process, and the resident bytes; None where there is none."""
        if self._process is None or self._process.poll() is not None:
            return None
        try:
            return self._process.pid, psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return None

    def mistakes(self) -> Counter[str]:
        """What its log has of mistakes in Guard itself, by kind."""
        found: Counter[str] = Counter()
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                # Nothing else writes there but an exception that nobody has caught.
                found["not a log event"] += 1
                continue
            if event.get("event") == "request_failed":
                places = [place.rpartition("/")[2] for place in event.get("where", ())]
                found[f"request_failed {event.get('error')} {' '.join(places[-4:])}"] += 1
        return found


class Stage:
    """What runs, and the hands that change it. `versions`: every policy that was ever valid, by its fingerprint."""

    def __init__(self, folder: Path, policy_folder: Path, binary: str) -> None:
        self.policies = policy_folder
        self.keys_file = folder / "keys.yaml"
        self.redis = RedisServer(binary, folder)
        self.judge = Judge(free_port())
        self.upstream = Upstream(free_port())
        self.keys: dict[str, str] = {}
        self.versions: dict[str, Policy] = {}
        self._made: list[Key] = []
        self._make_keys()
        self.policies.joinpath("held").mkdir()
        self.policies.joinpath("held", "policy.yaml").write_text(_HELD)
        self.policies.joinpath("forum").mkdir()
        self.new_policy(0)
        environment = {
            "GUARD_POLICIES": str(self.policies),
            "GUARD_KEYS": str(self.keys_file),
            "GUARD_RELOAD_SECONDS": "0.2",
            "GUARD_REDIS_URL": self.redis.url,
            "GUARD_CACHE_SECRET": "the secret of the soak",
            # Full before the warm-up is over, so that what grows afterwards is something else.
            "GUARD_CACHE_ENTRIES": "500",
            "GUARD_JUDGE_URL": f"http://127.0.0.1:{self.judge.port}",
            "GUARD_JUDGE_MODEL": "double",
            "GUARD_JUDGE_TIMEOUT_SECONDS": str(JUDGE_SECONDS),
            "GUARD_JUDGE_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
            "GUARD_UPSTREAM_URL": f"http://127.0.0.1:{self.upstream.port}",
            "GUARD_UPSTREAM_TIMEOUT_SECONDS": str(UPSTREAM_SECONDS),
            "GUARD_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "GUARD_ENCODER_THREADS": "1",
            "GUARD_LOG_LEVEL": "warning",
        }
        self.replicas = [Replica(name, folder / f"{name}.log", environment) for name in ("replica-1", "replica-2")]

    def new_policy(self, number: int) -> str:
        """Another version of the forum's policy; its fingerprint."""
        replaced(self.policies / "forum" / "policy.yaml", _FORUM % round(0.5 + number / 100, 2))
        loaded = load_policies(self.policies, pattern_names())
        self.versions |= {policy.fingerprint: policy for policy in loaded.values()}
        return loaded["forum"].fingerprint

    def broken_policy(self) -> str:
        """Spoils the forum's policy; what it was."""
        file = self.policies / "forum" / "policy.yaml"
        before = file.read_text()
        replaced(file, before.partition("categories:")[0] + _BROKEN)
        return before

    def _make_keys(self) -> None:
        now = datetime.now(UTC)
        for name, allowed in TENANTS.items():
            tenant = name.partition("-")[0]
            key, self.keys[name] = make(
                name, now=now, tenant=tenant, policies=allowed, default_policy=allowed[0], rates=_PLENTY
            )
            self._made.append(key)
        for name, rates in (("all", _PLENTY), ("loud", Rates(requests_per_minute=LOUD_RATE))):
            key, self.keys[name] = make(name, now=now, rates=rates)
            self._made.append(key)
        written(self.keys_file, self._made)

    def revoke(self, name: str) -> None:
        """Ends a key, as `guard keys revoke` does."""
        keys, _ = revoked(read(self.keys_file), name, datetime.now(UTC))
        written(self.keys_file, keys)


@asynccontextmanager
async def on_stage(folder: Path) -> AsyncIterator[Stage]:
    """Everything, running; what was started is ended.

    Raises:
        SystemExit: there is no Redis server to run.
        RuntimeError: a replica did not start.
    """
    binary = find_server()
    if binary is None:
        raise SystemExit(NO_SERVER.replace("These tests need", "The soak needs"))
    with policies() as policy_folder:
        stage = Stage(folder, policy_folder, binary)
        try:
            await asyncio.to_thread(stage.redis.start)
            await stage.judge.open()
            await stage.upstream.open()
            await asyncio.gather(*[replica.start() for replica in stage.replicas])
            yield stage
        finally:
            for replica in stage.replicas:
                replica.kill()
            await stage.judge.close()
            await stage.upstream.close()
            stage.redis.kill()
            stage.redis.client.close()

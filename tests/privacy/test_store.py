"""Canaries through a Guard that keeps records; then the store's files are searched for them, byte by byte."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chat.doubles import UpstreamServer, an_answer, chunks_of, running_upstream
from tests.conftest import ROOT, Server, serving
from tests.privacy.canaries import Canaries, found

POLICY = """\
version: 1
name: {name}
description: Blocks one word.
extends: default
terms:
  one_word: {{category: harassment, action: block, words: [grumpf]}}
store_verdicts: all
store_texts: {texts}
retention_days: 1
"""
CANDIDATE = """\
version: 1
name: eager
description: Flags everything, and would keep it.
extends: default
categories:
  harassment: {thresholds: {flag: 0.0000001}}
store_verdicts: all
store_texts: true
"""


@contextmanager
def storing(folder: Path) -> Iterator[tuple[Server, UpstreamServer]]:
    """A server with a store and policies that keep texts (`open`) and that do not (`shut`), a shadow beside each."""
    policies = folder / "policies"
    if not policies.exists():
        shutil.copytree(ROOT / "policies" / "default", policies / "default")
        for name, texts in (("open", "true"), ("shut", "false")):
            (policies / name).mkdir()
            (policies / name / "policy.yaml").write_text(POLICY.format(name=name, texts=texts), encoding="utf-8")
        (policies / "eager").mkdir()
        (policies / "eager" / "policy.yaml").write_text(CANDIDATE, encoding="utf-8")
        (policies / "rollout.yaml").write_text("open: {shadow: [eager]}\nshut: {shadow: [eager]}\n", encoding="utf-8")
    with (
        running_upstream() as upstream,
        serving(
            GUARD_POLICIES=str(policies), GUARD_STORE=str(folder / "records.db"), GUARD_UPSTREAM_URL=upstream.url
        ) as server,
    ):
        yield server, upstream


def kept(folder: Path) -> dict[str, bytes]:
    """The store's files as they are now."""
    return {path.name: path.read_bytes() for path in folder.glob("records.db*")}


def send(server: Server, upstream: UpstreamServer, canaries: Canaries, policy: str, **store: bool) -> list[str]:
    """Canaries through every way to a record; the ids that theirs begin with."""
    ids: list[str] = []

    def moderate(text: Any, **fields: Any) -> None:
        answer = server.moderate(text, policy=policy, **store, **fields)
        assert answer.status_code == 200
        ids.append(answer.json()["id"])

    moderate(canaries["a text"])
    moderate([canaries["one of two"], f"You grumpf, {canaries['blocked']}"], explain=True)
    moderate(f"Mail {canaries['redacted'].split()[0]}@example.com.", explain=True)
    turns = [
        {"role": "user", "content": canaries["context"], "name": canaries["name"]},
        {"role": "user", "content": [{"type": "text", "text": canaries["a part"]}, {"type": canaries["a kind"][:40]}]},
    ]
    moderate(turns)
    for stream in (False, True):
        for word in ("Hello", "You grumpf"):
            said = canaries[f"answer {stream} {word}"]
            told = chunks_of([f"{word}. ", said, "."]) if stream else an_answer(f"{word}. {said}.")
            upstream.script = lambda body, told=told: told
            messages = [
                {"role": "system", "content": canaries[f"system {stream} {word}"]},
                {"role": canaries[f"role {stream} {word}"], "content": canaries[f"of a role {stream} {word}"]},
                {"role": "user", "content": canaries[f"prompt {stream} {word}"], "name": canaries[f"name {stream}"]},
            ]
            body = {"model": canaries["model"], "messages": messages, "stream": stream, "guard": {"policy": policy}}
            answer = server.client.post("/v1/chat/completions", json=body | store)
            assert answer.status_code == 200
            if "x-guard-record" in answer.headers:
                ids.append(answer.headers["x-guard-record"])
    return ids


def records(server: Server, *, shadow: bool = False) -> list[dict[str, Any]]:
    query = {"limit": "200", "shadow": str(shadow).lower()}
    listed: list[dict[str, Any]] = server.client.get("/records", params=query).json()["records"]
    return listed


def shadows_done(server: Server, compared: int) -> None:
    """Waits until the candidate has been asked about so many texts, and what it said is in the store."""
    wanted = 'guard_shadow_verdicts_total{candidate="eager"'
    until = time.monotonic() + 20
    while True:
        lines = server.client.get("/metrics").text.splitlines()
        if sum(float(line.split()[-1]) for line in lines if line.startswith(wanted)) >= compared:
            break
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.3)


@pytest.mark.parametrize(
    ("policy", "store"), [("open", {"store": False}), ("shut", {})], ids=["not stored", "no texts"]
)
def test_what_may_not_be_kept_is_in_none_of_the_files(tmp_path: Path, policy: str, store: dict[str, bool]):
    """Where the call says no there is no record at all; where the policy keeps no texts there are records without."""
    canaries = Canaries()
    with storing(tmp_path) as (server, upstream):
        send(server, upstream, canaries, policy, **store)
        shadows_done(server, 15)
        assert len(canaries) > 20
        assert bool(records(server)) is (policy == "shut")
        assert bool(records(server, shadow=True)) is (policy == "shut")
        assert set(kept(tmp_path)) == {"records.db", "records.db-wal", "records.db-shm"}
        assert found(canaries, kept(tmp_path)) == []
    assert found(canaries, kept(tmp_path)) == []


def gone_by_delete(server: Server, folder: Path, canaries: Canaries) -> None:
    """Every record, one after the other; with the answer to the last nothing is left."""
    for record in records(server):
        assert server.client.delete(f"/records/{record['id']}").status_code == 200
    assert records(server, shadow=True) == []
    assert found(canaries, kept(folder)) == []


def gone_by_expiry(server: Server, folder: Path, canaries: Canaries) -> None:
    """A day later, as far as the records know; a running service looks every minute, a new one at once."""
    with closing(sqlite3.connect(folder / "records.db")) as db, db:
        db.execute("UPDATE records SET created = created - 86400000000, expires = expires - 86400000000")
    assert records(server) == records(server, shadow=True) == []


@pytest.mark.parametrize("gone", [gone_by_delete, gone_by_expiry])
def test_what_was_kept_goes_without_a_trace(tmp_path: Path, gone: Callable[[Server, Path, Canaries], None]):
    """What is redacted was never there, nor what stood before a text that is redacted; the rest was, and is not now."""
    canaries = Canaries()
    with storing(tmp_path) as (server, upstream):
        ids = send(server, upstream, canaries, "open")
        shadows_done(server, 15)
        flips = records(server, shadow=True)
        assert len(flips) > 10
        assert found(canaries, {"flips": json.dumps(flips).encode()}) == []
        assert len({record["id"].split("-")[0] for record in records(server)} & set(ids)) == len(ids)
        there = {place.split(" in ")[0] for place in found(canaries, kept(tmp_path))}
        assert {"a text", "one of two", "blocked", "a part", "answer False Hello", "answer True Hello"} <= there
        assert not there & {"redacted", "context", "name", "a kind", "model", "role False Hello", "role True Hello"}
        gone(server, tmp_path, canaries)
    with storing(tmp_path) as (server, _):
        until = time.monotonic() + 10
        while left := found(canaries, kept(tmp_path)):
            assert time.monotonic() < until, left
            time.sleep(0.1)
        assert records(server) == records(server, shadow=True) == []

"""What can be felt of keys and of other people's texts: by time, and through what is remembered."""

import itertools
import shutil
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from guard.access.keys import KeyBook, make, written
from guard.errors import Unauthenticated
from tests.conftest import ROOT, serving
from tests.redis_server import NO_SERVER, RedisServer, find_server

NOW = datetime.now(UTC)
SHOUT = """\
version: 1
name: {name}
description: Acts on one word in its own way.
extends: default
terms:
  one_word: {{category: harassment, action: {action}, words: [grumpf]}}
"""


def test_a_known_id_takes_no_longer_than_an_unknown_one(tmp_path: Path):
    """Medians of interleaved attempts, which a busy machine slows alike: within a third of each other."""
    key, _ = make("shop", now=NOW)
    written(tmp_path / "keys.yaml", [key])
    book = KeyBook(tmp_path / "keys.yaml")
    tries = {kind: f"guard_{name}_{'x' * 43}" for kind, name in (("known", key.id), ("unknown", "00000000"))}
    taken: dict[str, list[int]] = {kind: [] for kind in tries}
    for _ in range(4_000):
        for kind, presented in tries.items():
            started = time.perf_counter_ns()
            with pytest.raises(Unauthenticated):
                book.caller(presented)
            taken[kind].append(time.perf_counter_ns() - started)
    known, unknown = statistics.median(taken["known"]), statistics.median(taken["unknown"])
    assert abs(known - unknown) < max(known, unknown) / 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with a real Redis, two tenants, and two policies that differ in one action; it posts a text."""
    folder = tmp_path_factory.mktemp("poison")
    shutil.copytree(ROOT / "policies", folder / "policies")
    for name, action in (("stern", "block"), ("mild", "flag")):
        (folder / "policies" / name).mkdir()
        text = SHOUT.format(name=name, action=action)
        (folder / "policies" / name / "policy.yaml").write_text(text, encoding="utf-8")
    keys = {name: make(name, now=NOW) for name in ("shop", "forum")}
    written(folder / "keys.yaml", [key for key, _ in keys.values()])
    binary = find_server()
    if binary is None:
        pytest.fail(NO_SERVER, pytrace=False)
    redis = RedisServer(binary, folder)
    try:
        redis.start()
        with serving(
            GUARD_POLICIES=str(folder / "policies"),
            GUARD_KEYS=str(folder / "keys.yaml"),
            GUARD_REDIS_URL=redis.url,
            GUARD_CACHE_SECRET="sixteen characters",
        ) as server:

            def post(tenant: str, input: object, **more: object) -> dict[str, Any]:
                headers = {"Authorization": f"Bearer {keys[tenant][1]}"}
                answer = server.client.post("/moderate", json={"input": input, **more}, headers=headers)
                found: dict[str, Any] = answer.json()["results"][0]
                return found

            yield post
    finally:
        redis.kill()
        redis.client.close()


@pytest.mark.parametrize("order", list(itertools.permutations([("stern", "block"), ("mild", "flag")])))
def test_a_verdict_is_its_policys_and_its_tenants(shared: Any, order: list[tuple[str, str]]):
    """Whoever asked before, in whatever order. Within a tenant policies share scores, and never actions."""
    text = f"You grumpf, {order[0][0]}."
    for tenant in ("shop", "forum"):
        told = [shared(tenant, text, policy=policy) for policy, _ in order]
        assert told[0]["cached"] is False
        assert [one["action"] for one in told] == [action for _, action in order]
    for tenant in ("shop", "forum"):
        told = [shared(tenant, text, policy=policy) for policy, _ in order]
        assert [(one["action"], one["cached"]) for one in told] == [(action, True) for _, action in order]


def test_parts_of_a_question_do_not_run_into_each_other(shared: Any):
    """Texts and turns that read alike when they are put one behind another are kept apart."""
    asked: list[object] = [
        "one two",
        [{"role": "user", "content": "one"}, {"role": "user", "content": " two"}],
        [{"role": "user", "content": "one "}, {"role": "user", "content": "two"}],
        [{"role": "assistant", "content": "one "}, {"role": "user", "content": "two"}],
        [{"role": "user", "content": "user"}, {"role": "user", "content": "one two"}],
        [{"role": "user", "content": "one two"}, {"role": "user", "content": "user"}],
    ]
    assert [shared("shop", one)["cached"] for one in asked] == [False] * len(asked)
    assert [shared("shop", one)["cached"] for one in asked] == [True] * len(asked)

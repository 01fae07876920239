"""Canaries and shadows through `guard serve`: who is answered under what, and what metrics and log tell of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guard.access.keys import make, written
from tests.chat.doubles import an_answer, chunks_of, running_upstream
from tests.conftest import ROOT, Server, serving

CANDIDATE = """\
version: 1
name: {name}
description: Tried beside another.
extends: default
{more}
"""
SAME_SCORES = "patterns: {email: {category: pii, action: block}}"
OWN_SCORES = "terms: {one_word: {category: harassment, action: block, words: [grumpf]}}"
FEWER = "categories: {hate: {enabled: false}}"
TEXTS = [f"Text number {number} of many." for number in range(60)]
SECRET = "a secret that replicas share"


def policies_in(folder: Path, rollout: str) -> Path:
    """The shipped policies with candidates, and a rollout."""
    shutil.copytree(ROOT / "policies", folder, ignore=shutil.ignore_patterns("cases"))
    for name, more in (("stricter", SAME_SCORES), ("wordy", OWN_SCORES), ("fewer", FEWER)):
        (folder / name).mkdir()
        (folder / name / "policy.yaml").write_text(CANDIDATE.format(name=name, more=more), encoding="utf-8")
    (folder / "rollout.yaml").write_text(rollout, encoding="utf-8")
    return folder


class Tried(NamedTuple):
    """A server with a canary of half of the texts on `default`, shadows on `strict`, a canary of all on `children`."""

    server: Server
    folder: Path

    def values(self) -> dict[tuple[str, ...], float]:
        """The shadows' metrics: name and label values in the order of the labels' names."""
        families = text_string_to_metric_families(self.server.client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return {
            (s.name, *[value for _, value in sorted(s.labels.items())]): s.value
            for s in samples
            if s.name.startswith("guard_shadow")
        }


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    """One server for the module."""
    rollout = """\
default:
  canary: {policy: stricter, percent: 50}
strict:
  shadow: [stricter, wordy, fewer]
children:
  canary: {policy: fewer, percent: 100}
"""
    folder = policies_in(tmp_path_factory.mktemp("rollout") / "policies", rollout)
    with running_upstream() as upstream:
        upstream.script = lambda body: chunks_of(["Hello ", "there."]) if body.get("stream") else an_answer("Hello.")
        environment = {"GUARD_POLICIES": str(folder), "GUARD_UPSTREAM_URL": upstream.url, "GUARD_CACHE_SECRET": SECRET}
        with serving(**environment) as server:
            yield Tried(server, folder)


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


def answered_under(server: Server, text: object, **fields: object) -> str:
    response = server.moderate(text, **fields)
    assert response.status_code == 200, response.text
    name: str = response.json()["policy"]["name"]
    return name


def test_a_share_of_the_requests_is_answered_by_the_canary(tried):
    """Named or by default, the same text always by the same policy, and the answer says which one with fingerprint."""
    found = [answered_under(tried.server, text) for text in TEXTS]
    assert 10 < found.count("stricter") < 50
    assert set(found) == {"default", "stricter"}
    assert [answered_under(tried.server, text, policy="default") for text in TEXTS] == found
    text = TEXTS[found.index("stricter")]
    fingerprints = tried.server.client.get("/readyz").json()["policies"]
    assert tried.server.moderate(text).json()["policy"] == {
        "name": "stricter", "fingerprint": fingerprints["stricter"],
    }  # fmt: skip
    with serving(GUARD_POLICIES=str(tried.folder), GUARD_CACHE_SECRET=SECRET) as replica:
        assert [answered_under(replica, text) for text in TEXTS[:20]] == found[:20]


def test_the_canarys_verdict_is_the_canarys(tried):
    """An address is redacted by the one and blocks under the other; metrics count it there."""
    texts = [f"{text} Write to jane.doe@example.com." for text in TEXTS]
    bodies = [tried.server.moderate(text).json() for text in texts]
    by_policy = {(body["policy"]["name"], body["results"][0]["action"]) for body in bodies}
    assert by_policy == {("default", "redact"), ("stricter", "block")}
    metrics = tried.server.client.get("/metrics").text
    assert 'guard_verdicts_total{action="block",cached="false",policy="stricter"}' in metrics


def test_a_pin_is_answered_by_what_it_names(tried):
    pin = tried.server.client.get("/readyz").json()["policies"]["default"]
    assert {answered_under(tried.server, text, policy=f"default@{pin}") for text in TEXTS} == {"default"}


def test_a_conversation_stays_where_it_began(tried):
    """However long it grows; a system prompt is the application's, and alike for all."""
    for text in TEXTS[:12]:
        turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]
        first = answered_under(tried.server, turns)
        assert first == answered_under(tried.server, text)
        turns += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And then?"}]
        assert answered_under(tried.server, turns) == first
        for stream in (False, True):
            body = {"model": "m", "messages": turns, "stream": stream}
            response = tried.server.client.post("/v1/chat/completions", json=body)
            assert response.headers["x-guard-policy"].partition("@")[0] == first


def test_a_request_that_names_categories_is_not_refused_for_its_canary(tried):
    """What the candidate cannot tell is answered by the policy that was asked for."""
    assert answered_under(tried.server, "Hi.", policy="children") == "fewer"
    assert answered_under(tried.server, "Hi.", policy="children", categories=["pii"]) == "fewer"
    assert answered_under(tried.server, "Hi.", policy="children", categories=["hate"]) == "children"
    thresholds = {"custom_category_thresholds": {"hate_and_discrimination": 0.9}}
    body = {
        "model": "m", "messages": [{"role": "user", "content": "Hi."}], "guard": {"policy": "children"},
        "guardrails": [{"moderation_llm_v1": thresholds}],
    }  # fmt: skip
    response = tried.server.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    assert response.headers["x-guard-policy"].startswith("children@")


def test_readiness_shows_what_is_tried(tried):
    assert tried.server.client.get("/readyz").json()["rollouts"] == {
        "default": {"shadow": [], "canary": {"policy": "stricter", "percent": 50.0, "by": "hash"}},
        "strict": {"shadow": ["stricter", "wordy", "fewer"], "canary": None},
        "children": {"shadow": [], "canary": {"policy": "fewer", "percent": 100.0, "by": "hash"}},
    }


def test_shadows_are_compared_counted_and_logged_without_the_text(tried):
    """Every candidate, for verdicts of `/moderate` and of both sides of a chat."""
    before = tried.values()
    response = tried.server.moderate("Only a grumpf writes to xkcdjane@example.com.", policy="strict")
    body = {"model": "m", "messages": [{"role": "user", "content": "grumpf?"}], "guard": {"policy": "strict"}}
    tried.server.client.post("/v1/chat/completions", json=body)

    def more(*key: str) -> float:
        return tried.values().get(key, 0.0) - before.get(key, 0.0)

    def compared(candidate: str) -> float:
        return sum(
            more("guard_shadow_verdicts_total", candidate, way, "strict") for way in ("same", "harder", "milder")
        )

    assert eventually(lambda: all(compared(name) == 3 for name in ("stricter", "wordy", "fewer")))
    assert more("guard_shadow_verdicts_total", "stricter", "harder", "strict") == 1
    assert more("guard_shadow_verdicts_total", "wordy", "harder", "strict") == 2
    assert more("guard_shadow_flips_total", "stricter", "pii", "harder", "strict") == 1
    assert more("guard_shadow_flips_total", "wordy", "harassment", "harder", "strict") == 2
    lines = [json.loads(line) for line in tried.server.log().splitlines()]
    flips = [line for line in lines if line["event"] == "shadow_flip"]
    mine = {line["candidate"]: line for line in flips if line["request_id"] == response.headers["x-request-id"]}
    assert (mine["stricter"]["before"], mine["stricter"]["after"]) == ("redact", "block")
    assert mine["stricter"]["categories"] == [
        {"category": "pii", "before": "redact", "after": "block", "score_before": 1.0, "score_after": 1.0}
    ]
    assert "xkcdjane" not in tried.server.log()
    assert 'guard_verdicts_total{action="block",cached="false",policy="wordy"}' not in (
        tried.server.client.get("/metrics").text
    )


def test_with_keys_a_tenant_has_one_policy_which_its_key_need_not_name(tmp_path):
    """The canary is the operator's choice; by its own name the candidate stays forbidden."""
    rollout = "default: {canary: {policy: stricter, percent: 50, by: key}}\n"
    folder = policies_in(tmp_path / "policies", rollout)
    now = datetime.now(UTC)
    keys = [make(f"tenant-{number}", now=now, policies=("default",)) for number in range(12)]
    written(tmp_path / "keys.yaml", [key for key, _ in keys])
    environment = {"GUARD_POLICIES": str(folder), "GUARD_KEYS": str(tmp_path / "keys.yaml")}
    with serving(**environment, GUARD_CACHE_SECRET=SECRET) as server:
        found = []
        for _, shown in keys:
            server.client.headers["Authorization"] = f"Bearer {shown}"
            (name,) = {answered_under(server, text) for text in TEXTS[:4]}
            found.append(name)
        assert set(found) == {"default", "stricter"}
        assert server.moderate("Hi.", policy="stricter").status_code == 403


def test_by_key_without_keys_refuses_to_start(tmp_path):
    """A command that only reads a text itself does not care."""
    folder = policies_in(tmp_path / "policies", "default: {canary: {policy: stricter, percent: 100, by: key}}\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GUARD_")} | {"GUARD_POLICIES": str(folder)}

    def guard(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from guard.cli import main; main()", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    refused = guard("serve", "--port", "0")
    assert refused.returncode == 2
    assert "rollout.yaml:1: $.default.canary.by: callers have no keys here" in refused.stderr
    checked = guard("check", "Hello.")
    assert checked.returncode == 0
    assert "under policy default" in checked.stdout

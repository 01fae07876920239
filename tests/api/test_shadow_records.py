"""What shadows would have said otherwise, in the store of a running server: whose, of what, and at nobody's expense."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from guard.access.keys import make, written
from tests.chat.doubles import an_answer, chunks_of, running_upstream
from tests.conftest import ROOT, Server, serving

POLICY = """\
version: 1
name: {name}
extends: default
description: Tried beside another, or the other.
{more}
"""
BLOCKS_WORD = "terms: {one_word: {category: harassment, action: block, words: [grumpf]}}\n"
BLOCKS_MAIL = "patterns: {email: {category: pii, action: block}}\n"
KEEPS = "store_verdicts: {which}\nstore_texts: true\n"
POLICIES = {
    "live": KEEPS.format(which="all"),
    "flagging": KEEPS.format(which="flagged"),
    "silent": "store_verdicts: none\nstore_texts: true\n",
    "wordy": KEEPS.format(which="flagged") + BLOCKS_WORD,
    "mailing": KEEPS.format(which="all") + "retention_days: 2\n" + BLOCKS_MAIL,
    "mute": "store_verdicts: none\n" + BLOCKS_WORD,
    "blocking": KEEPS.format(which="all") + BLOCKS_WORD,
}
ROLLOUT = """\
live: {shadow: [wordy, mailing, mute]}
flagging: {shadow: [wordy]}
silent: {shadow: [wordy]}
"""
MAIL = "Write to jane.doe@example.com, you grumpf."


class Tried(NamedTuple):
    """A server with a store, shadows and keys."""

    server: Server
    file: Path
    keys: dict[str, str]
    upstream: Any

    def ask(self, method: str, route: str, key: str = "web", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[key]}"}
        return self.server.client.request(method, route, headers=headers, **more)

    def moderate(self, text: Any, policy: str, key: str = "web", **fields: Any) -> str:
        answer = self.ask("POST", "/moderate", key, json={"input": text, "policy": policy} | fields)
        assert answer.status_code == 200, answer.text
        id: str = answer.json()["id"]
        return id

    def listed(self, key: str = "admin", **query: str) -> dict[str, dict[str, Any]]:
        answer = self.ask("GET", "/records", key, params={"limit": "200"} | query)
        assert answer.status_code == 200, answer.text
        return {record["id"]: record for record in answer.json()["records"]}

    def flips(self, id: str, key: str = "admin", **query: str) -> dict[str, dict[str, Any]]:
        """The records of shadows of one answer, by the end of their ids."""
        found = self.listed(key, shadow="true", **query)
        return {name.removeprefix(f"{id}-"): flip for name, flip in found.items() if name.startswith(f"{id}-")}

    def compared(self) -> float:
        """Verdicts that shadows have been compared with so far."""
        lines = self.server.client.get("/metrics").text.splitlines()
        wanted = ("guard_shadow_verdicts_total", "guard_shadow_dropped_total")
        return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


@contextmanager
def trying(folder: Path, **environment: str) -> Iterator[Tried]:
    policies = folder / "policies"
    for name, more in POLICIES.items():
        (policies / name).mkdir(parents=True)
        (policies / name / "policy.yaml").write_text(POLICY.format(name=name, more=more), encoding="utf-8")
    (policies / "default").symlink_to(ROOT / "policies" / "default")
    (policies / "rollout.yaml").write_text(ROLLOUT, encoding="utf-8")
    rights: dict[str, dict[str, Any]] = {
        "web": {"tenant": "shop"}, "other": {"tenant": "forum"}, "admin": {"role": "admin"},
        "reader": {"tenant": "shop", "role": "reviewer"},
        "narrow": {"tenant": "shop", "role": "reviewer", "policies": ("wordy",)},
        "both": {"tenant": "shop", "role": "reviewer", "policies": ("wordy", "live")},
    }  # fmt: skip
    made = {name: make(name, now=datetime.now(UTC), **more) for name, more in rights.items()}
    written(folder / "keys.yaml", [key for key, _ in made.values()])
    file = folder / "records.db"
    with (
        running_upstream() as upstream,
        serving(
            GUARD_POLICIES=str(policies), GUARD_STORE=str(file), GUARD_KEYS=str(folder / "keys.yaml"),
            GUARD_UPSTREAM_URL=upstream.url, **environment,
        ) as server,
    ):  # fmt: skip
        yield Tried(server, file, {name: secret for name, (_, secret) in made.items()}, upstream)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    with trying(tmp_path_factory.mktemp("shadows")) as running:
        yield running


def test_a_flip_stands_beside_the_record_of_the_verdict(tried: Tried):
    """Of each candidate that keeps verdicts, with both sides; without the text, which is where it was answered."""
    id = tried.moderate(["Good morning.", MAIL], "live")
    assert eventually(lambda: len(tried.flips(id)) == 2)
    flips = tried.flips(id)
    assert set(flips) == {"1.wordy", "1.mailing"}
    wordy, mailing = flips["1.wordy"], flips["1.mailing"]
    live = tried.listed()[f"{id}-1"]
    assert (wordy["route"], wordy["policy"], wordy["action"]) == ("shadow", "wordy", "block")
    assert wordy["verdict"]["categories"]["harassment"]["action"] == "block"
    assert {hit["name"] for hit in wordy["assessment"]["hits"]} == {"email", "one_word"}
    assert wordy["beside"] == {
        "record": f"{id}-1", "policy": "live", "fingerprint": live["fingerprint"], "action": "redact",
        "flips": [{
            "category": "harassment", "before": wordy["beside"]["flips"][0]["before"], "after": "block",
            "score_before": live["verdict"]["categories"]["harassment"]["score"], "score_after": 1.0,
        }],
    }  # fmt: skip
    assert [flip["category"] for flip in mailing["beside"]["flips"]] == ["pii"]
    for field in ("request_id", "tenant", "key", "screen", "judge", "rail", "role"):
        assert wordy[field] == live[field], field
    age = datetime.fromisoformat(mailing["expires"]) - datetime.fromisoformat(mailing["time"])
    assert age.days == 2
    assert "beside" not in live
    assert live["text"] == "Write to [EMAIL_1], you grumpf."
    for flip in flips.values():
        assert flip["text"] is None
        assert "jane" not in json.dumps(flip)
        assert "EMAIL_1" not in json.dumps(flip)
    assert tried.ask("GET", f"/records/{id}-1.wordy", "admin").json() == wordy


def test_answers_are_listed_without_what_nobody_was_told(tried: Tried):
    """An audit of what was blocked does not find what a candidate would have blocked."""
    id = tried.moderate(MAIL, "live")
    assert eventually(lambda: len(tried.flips(id)) == 2)
    assert not [name for name in tried.listed() if "." in name]
    assert f"{id}-0" not in tried.listed(action="block")
    assert set(tried.flips(id, policy="wordy", action="block")) == {"0.wordy"}
    assert tried.flips(id, action="allow") == {}


def test_a_tenant_sees_its_own_and_of_both_policies_or_none(tried: Tried):
    id = tried.moderate(MAIL, "live")
    theirs = tried.moderate(MAIL, "live", key="other")
    assert eventually(lambda: len(tried.flips(id)) == len(tried.flips(theirs)) == 2)
    assert len(tried.flips(id, "reader")) == 2
    assert tried.flips(theirs, "reader") == {}
    assert tried.flips(id, "narrow") == {}
    assert set(tried.flips(id, "both")) == {"0.wordy"}
    assert tried.ask("GET", f"/records/{id}-0.wordy", "narrow").status_code == 404
    assert tried.ask("GET", "/records?shadow=perhaps", "reader").status_code == 422


def test_only_calls_that_leave_records_leave_those_of_shadows(tried: Tried):
    """Not one that says no, nor under a policy that keeps none; of `flagged`, also what only the candidate flags."""
    before = tried.compared()
    never = [tried.moderate(MAIL, "live", store=False), tried.moderate(MAIL, "silent")]
    id = tried.moderate("A grumpf, if you ask me.", "flagging")
    assert eventually(lambda: tried.compared() == before + 5)
    assert eventually(lambda: set(tried.flips(id)) == {"0.wordy"})
    flip = tried.flips(id)["0.wordy"]
    assert (flip["beside"]["action"], flip["action"]) == ("allow", "block")
    assert f"{id}-0" not in tried.listed()
    assert [tried.flips(one) for one in never] == [{}, {}]


@pytest.mark.parametrize("stream", [False, True])
def test_both_sides_of_a_chat_have_theirs(tried: Tried, stream: bool):
    """Under the id that the answer's header names; each beside the record of the same text."""
    words = ["A grumpf ", "said it, ", "write to jane@example.com."]
    tried.upstream.script = lambda body: chunks_of(words) if stream else an_answer("".join(words))
    body = {
        "model": "m", "messages": [{"role": "user", "content": "What did the grumpf say?"}], "stream": stream,
        "guard": {"policy": "live"},
    }  # fmt: skip
    answer = tried.ask("POST", "/v1/chat/completions", json=body)
    assert answer.status_code == 200
    id = answer.headers["x-guard-record"]
    assert eventually(lambda: len(tried.flips(id)) == 3)
    live = tried.listed()
    for name, flip in tried.flips(id).items():
        beside = live[flip["beside"]["record"]]
        assert flip["rail"] == beside["rail"] == ("input" if name.startswith("0.") else "output")
        assert flip["beside"]["action"] == beside["action"]
        assert flip["beside"]["policy"] == beside["policy"] == "live"
    assert sorted(name.partition(".")[2] for name in tried.flips(id)) == ["mailing", "wordy", "wordy"]


def test_deleting_a_record_deletes_what_stands_beside_it(tried: Tried):
    id = tried.moderate([MAIL, MAIL + " "], "live")
    assert eventually(lambda: len(tried.flips(id)) == 4)
    assert tried.ask("DELETE", f"/records/{id}-0", "admin").status_code == 200
    assert set(tried.flips(id)) == {"1.wordy", "1.mailing"}
    assert tried.ask("DELETE", f"/records/{id}-1.wordy", "admin").status_code == 200
    assert set(tried.flips(id)) == {"1.mailing"}
    assert f"{id}-1" in tried.listed()


def test_flips_are_exported_with_their_texts_and_compared_again(tried: Tried, tmp_path: Path):
    """With the text of the record beside each, as long as that is there; `guard policy diff` asks both policies."""
    kept = tried.moderate(MAIL, "live")
    gone = tried.moderate("Only a grumpf asks.", "flagging")
    assert eventually(lambda: len(tried.flips(kept)) == 2 and len(tried.flips(gone)) == 1)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GUARD_")}
    environment |= {"GUARD_STORE": str(tried.file), "GUARD_POLICIES": str(tried.file.parent / "policies")}

    def guard(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from guard.cli import main; main()", *arguments]
        environment["COLUMNS"] = "300"
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)

    table = guard("records", "list", "--shadow", "--policy", "wordy", "--limit", "200")
    assert f"{kept}-0.wordy" in table.stdout
    assert "live: redact" in table.stdout
    assert f"{kept}-0.mailing" not in table.stdout
    out = tmp_path / "flips.jsonl"
    done = guard("records", "export", "--shadow", "--policy", "wordy", "-o", str(out))
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in map(json.loads, out.read_text().splitlines())}
    row = rows[f"{kept}-0.wordy"]
    assert row["text"] == "Write to [EMAIL_1], you grumpf."
    assert (row["action"], row["beside"]["action"]) == ("block", "redact")
    assert f"{gone}-0.wordy" not in rows
    compared = guard("policy", "diff", "live", "wordy", "--on", str(out), "--json", "--quiet")
    assert compared.returncode == 0, compared.stderr
    (diff,) = json.loads(compared.stdout)["diffs"]
    assert row["id"] in {flip["id"] for flip in diff["flips"]}


def test_a_store_that_fails_slows_no_answer_and_is_counted(tmp_path: Path):
    """Under a policy that keeps only what flags, nothing is kept of a harmless text: its answer never sees the store,
    however long the shadow's record waits for a file that another process holds."""
    with trying(tmp_path) as tried:
        first = tried.moderate("A grumpf.", "flagging")
        assert eventually(lambda: len(tried.flips(first)) == 1)
        with closing(sqlite3.connect(tried.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            took = []
            for number in range(20):
                began = time.monotonic()
                tried.moderate(f"A grumpf, number {number}.", "flagging")
                took.append(time.monotonic() - began)
            assert max(took) < 0.9
            lost = 'guard_shadow_dropped_total{reason="record"}'

            def counted() -> float:
                lines = tried.server.client.get("/metrics").text.splitlines()
                return float(next(line for line in lines if line.startswith(lost)).split()[-1])

            assert eventually(lambda: counted() >= 8)
            other.execute("ROLLBACK")
        assert "Traceback" not in tried.server.log()

        def kept_again() -> bool:
            # Whose record somebody waits for finds out that the store is well again.
            tried.moderate("Good morning.", "live")
            id = tried.moderate("A grumpf again.", "flagging")
            return eventually_soon(lambda: len(tried.flips(id)) == 1)

        assert eventually(kept_again)


def eventually_soon(condition: Callable[[], bool]) -> bool:
    """As `eventually`, within a second."""
    until = time.monotonic() + 1
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False

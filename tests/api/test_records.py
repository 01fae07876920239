"""Records over HTTP: who leaves some, who reads them, what happens to them when something goes wrong."""

import json
import os
import re
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from guard.access.keys import make, written
from tests.chat.doubles import UpstreamServer, a_chunk, an_answer, chunks_of, running_upstream
from tests.conftest import ROOT, Server, serving

POLICY = """\
version: 1
name: {name}
extends: default
description: Blocks one word.
terms:
  one_word: {{category: harassment, action: block, words: [grumpf]}}
"""
POLICIES = {
    "silent": "store_texts: true\n",
    "flagged": "store_verdicts: flagged\nstore_texts: true\n",
    "all": "store_verdicts: all\nretention_days: 3\n",
    "refusing": "store_verdicts: all\nwhen_store_fails: refuse\n",
    "hasty": "store_verdicts: all\nwhen_store_fails: refuse\nchat: {speculative: true}\n",
}
MAIL = "Write to jane.doe@example.com."


class Kept(NamedTuple):
    """A server with a store and keys, and what it talks to."""

    server: Server
    file: Path
    keys: dict[str, str]
    upstream: UpstreamServer

    def ask(self, method: str, route: str, key: str = "web", **more: Any) -> httpx.Response:
        """A request with the key of that name."""
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if self.keys else {}
        return self.server.client.request(method, route, headers=headers, **more)

    def moderate(self, text: Any, policy: str, key: str = "web", **fields: Any) -> httpx.Response:
        return self.ask("POST", "/moderate", key, json={"input": text, "policy": policy} | fields)

    def chat(self, says: str, policy: str, **fields: Any) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": says}], "guard": {"policy": policy}}
        return self.ask("POST", "/v1/chat/completions", json=body | fields)

    def records(self, id: str, key: str = "admin") -> list[dict[str, Any]]:
        """The records of one answer, in the order of its texts."""
        found = self.ask("GET", "/records", key, params={"limit": "200"}).json()["records"]
        return sorted([record for record in found if record["id"].startswith(f"{id}-")], key=lambda r: r["id"])


@contextmanager
def keeping(folder: Path, *, keyed: bool = False, **environment: str) -> Iterator[Kept]:
    """A server whose store is a file in a folder that may hold one from before."""
    policies = folder / "policies"
    for name, keys in POLICIES.items():
        (policies / name).mkdir(parents=True, exist_ok=True)
        (policies / name / "policy.yaml").write_text(POLICY.format(name=name) + keys, encoding="utf-8")
    if not (policies / "default").exists():
        (policies / "default").symlink_to(ROOT / "policies" / "default")
    shown = {}
    if keyed:
        rights: dict[str, dict[str, Any]] = {
            "web": {"tenant": "shop"}, "reader": {"tenant": "shop", "role": "reviewer"},
            "narrow": {"tenant": "shop", "role": "reviewer", "policies": ("all",)},
            "other": {"role": "reviewer"}, "admin": {"role": "admin"},
        }  # fmt: skip
        made = {name: make(name, now=datetime.now(UTC), **more) for name, more in rights.items()}
        written(folder / "keys.yaml", [key for key, _ in made.values()])
        environment |= {"GUARD_KEYS": str(folder / "keys.yaml")}
        shown = {name: secret for name, (_, secret) in made.items()}
    with (
        running_upstream() as upstream,
        serving(
            GUARD_POLICIES=str(policies),
            GUARD_STORE=str(folder / "records.db"),
            GUARD_UPSTREAM_URL=upstream.url,
            **environment,
        ) as server,
    ):
        yield Kept(server, folder / "records.db", shown, upstream)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """One server for all tests that do not harm it."""
    with keeping(tmp_path_factory.mktemp("records"), keyed=True) as running:
        yield running


def test_a_policy_says_which_verdicts_leave_a_record(kept: Kept):
    """None, those that flag, or all; with the text or without."""
    texts = ["You grumpf.", "Good morning.", MAIL]
    assert kept.records(kept.moderate(texts, "silent").json()["id"]) == []
    assert kept.records(kept.moderate(texts, "default").json()["id"]) == []
    answer = kept.moderate(texts, "flagged").json()
    first, second = kept.records(answer["id"])
    assert (first["id"], first["action"], first["text"]) == (f"{answer['id']}-0", "block", "You grumpf.")
    assert (second["id"], second["action"]) == (f"{answer['id']}-2", "redact")
    assert second["text"] == second["verdict"]["redacted"] == "Write to [EMAIL_1]."
    found = kept.records(kept.moderate(texts, "all").json()["id"])
    assert [record["text"] for record in found] == [None] * 3
    assert [record["action"] for record in found] == ["block", "allow", "redact"]


def test_a_record_is_the_verdict_and_what_it_rests_on(kept: Kept):
    """As it was answered, under which policy, whose, and until when."""
    response = kept.moderate("You grumpf.", "flagged", explain=True)
    answer = response.json()
    record = kept.ask("GET", f"/records/{answer['id']}-0", "reader").json()
    told = answer["results"][0]
    assert told.pop("explanation")
    assert record["verdict"] == told
    assert (record["policy"], record["fingerprint"]) == ("flagged", answer["policy"]["fingerprint"])
    assert (record["tenant"], record["key"], record["route"]) == ("shop", "web", "moderate")
    assert record["request_id"] == response.headers["x-request-id"]
    assert (record["screen"], record["judge"]) == ("guard-encoder-1", None)
    assert record["assessment"]["hits"] == [{"kind": "terms", "name": "one_word", "start": 4, "end": 10}]
    assert record["assessment"]["scores"]["hate"]["value"] == told["categories"]["hate"]["score"]
    age = datetime.fromisoformat(record["expires"]) - datetime.fromisoformat(record["time"])
    assert age.days == 30
    assert kept.keys["web"] not in json.dumps(record)


def test_a_call_may_say_no(kept: Kept):
    """`store: false` always holds."""
    assert kept.records(kept.moderate("You grumpf.", "all", store=False).json()["id"]) == []
    assert kept.records(kept.moderate("You grumpf.", "flagged", store=False).json()["id"]) == []


def test_a_call_may_ask_for_its_texts_to_be_kept(kept: Kept):
    """Whatever the action; where the policy keeps no texts it is refused, and nothing is kept."""
    (record,) = kept.records(kept.moderate("Good morning.", "silent", store=True).json()["id"])
    assert (record["action"], record["text"]) == ("allow", "Good morning.")
    refused = kept.moderate("Good morning.", "all", store=True)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "$.store"
    assert "the policy `all` keeps no texts (store_texts): send `store: false`" in refused.json()["detail"]


def test_a_text_is_kept_without_what_the_policy_redacts(kept: Kept):
    """Also where the call asks for another category alone; and with no turn before it."""
    turns = [{"role": "user", "content": "I am joe@example.org."}, {"role": "assistant", "content": MAIL}]
    for body in ({"text": MAIL, "categories": ["hate"]}, {"text": turns}):
        fields = {"categories": body["categories"]} if "categories" in body else {}
        (record,) = kept.records(kept.moderate(body["text"], "silent", store=True, **fields).json()["id"])
        assert record["text"] == "Write to [EMAIL_1]."
        assert "@example" not in json.dumps(record)


def test_readers_see_their_tenant_and_admins_all(kept: Kept):
    """A client reads nothing, a reviewer deletes nothing; a key's policies bound both."""
    id = kept.moderate("You grumpf.", "flagged").json()["id"]
    other = kept.moderate("You grumpf.", "all", key="other").json()["id"]
    for method, route, key, status in (
        ("GET", "/records", "web", 403),
        ("GET", f"/records/{id}-0", "web", 403),
        ("GET", f"/records/{id}-0", "reader", 200),
        ("GET", f"/records/{id}-0", "admin", 200),
        ("GET", f"/records/{id}-0", "narrow", 404),
        ("GET", f"/records/{id}-0", "other", 404),
        ("GET", f"/records/{other}-0", "reader", 404),
        ("GET", f"/records/{other}-0", "other", 200),
        ("GET", "/records?policy=flagged", "narrow", 403),
        ("DELETE", f"/records/{id}-0", "reader", 403),
    ):
        assert kept.ask(method, route, key).status_code == status, (method, route, key)
    for method, route in (("GET", "/records"), ("GET", f"/records/{id}-0"), ("DELETE", f"/records/{id}-0")):
        assert kept.server.client.request(method, route).status_code == 401
    listed = kept.ask("GET", "/records", "reader").json()["records"]
    assert {record["tenant"] for record in listed} == {"shop"}
    assert {record["policy"] for record in kept.ask("GET", "/records", "narrow").json()["records"]} <= {"all"}
    assert kept.ask("DELETE", f"/records/{id}-0", "admin").json() == {"id": f"{id}-0", "deleted": True}
    for method in ("GET", "DELETE"):
        gone = kept.ask(method, f"/records/{id}-0", "admin")
        assert (gone.status_code, gone.json()["type"]) == (404, "urn:guard:problem:record-not-found")


def test_the_list_goes_from_page_to_page(kept: Kept):
    """Newest first, each record once, as it was asked for."""
    since = datetime.now(UTC).isoformat()
    ids = [kept.moderate("You grumpf.", "all").json()["id"] for _ in range(5)]
    kept.moderate("Good morning.", "all")
    wanted = {"since": since, "action": "block", "policy": "all", "limit": "2"}
    found, pages = [], 0
    page = kept.ask("GET", "/records", "reader", params=wanted).json()
    while True:
        pages += 1
        found += [record["id"] for record in page["records"]]
        if page["next"] is None:
            break
        page = kept.ask("GET", "/records", "reader", params=wanted | {"after": page["next"]}).json()
    assert found == [f"{id}-0" for id in reversed(ids)]
    assert pages == 3


@pytest.mark.parametrize(
    ("query", "path", "words"),
    [
        ("limit=0", "?limit", ">= 1"),
        ("limit=many", "?limit", "int"),
        ("limit=201", "?limit", "<= 200"),
        ("since=yesterday", "?since", "RFC3339"),
        ("since=2026-11-22T00:00:00", "?since", "timezone"),
        ("action=shrug", "?action", "shrug"),
        ("after=there", "?after", "`next` of the page before"),
        ("lmit=5", "?lmit", "known: policy, action, since, limit, after"),
    ],
)
def test_a_bad_query_gets_a_clear_error(kept: Kept, query: str, path: str, words: str):
    """The place in the address, and what to do about it."""
    answer = kept.ask("GET", f"/records?{query}", "reader")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["errors"][0]["path"] == path
    assert words in problem["detail"]
    assert problem["title"] == "The address does not have the expected shape"


def test_without_a_store_nothing_is_stored_and_the_routes_say_so(server: Server):
    """404 with the setting's name; a call that wants its text kept is refused."""
    for method, route in (("GET", "/records"), ("GET", "/records/x"), ("DELETE", "/records/x")):
        answer = server.client.request(method, route)
        assert answer.status_code == 404
        assert "GUARD_STORE" in answer.json()["detail"]
    refused = server.moderate("Hello.", store=True)
    assert refused.status_code == 422
    assert "no store is set (GUARD_STORE)" in refused.json()["detail"]
    assert server.moderate("Hello.", store=False).status_code == 200
    assert 'queue="store"' not in server.client.get("/metrics").text
    assert server.client.get("/readyz").json()["store_problem"] is None


# The guarded chat.


def rails_of(records: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(record["rail"], record["action"], record["text"]) for record in records]


def test_a_chat_leaves_records_of_both_sides(kept: Kept):
    """Under the id that the answer's header names."""
    kept.upstream.script = lambda body: an_answer("You grumpf yourself.")
    answer = kept.chat("Hi, I am jane.doe@example.com.", "flagged")
    found = kept.records(answer.headers["x-guard-record"])
    assert rails_of(found) == [
        ("input", "redact", "Hi, I am [EMAIL_1]."), ("output", "block", "You grumpf yourself."),
    ]  # fmt: skip
    assert {(record["route"], record["key"]) for record in found} == {("chat", "web")}
    assert "x-guard-stored" not in answer.headers
    kept.upstream.script = lambda body: an_answer("Hello.")
    found = kept.records(kept.chat("Hi.", "all").headers["x-guard-record"])
    assert rails_of(found) == [("input", "allow", None), ("output", "allow", None)]


def test_a_refused_prompt_leaves_its_record(kept: Kept):
    """And no answer's, for there is none."""
    asked = len(kept.upstream.calls)
    answer = kept.chat("You grumpf.", "flagged")
    assert rails_of(kept.records(answer.headers["x-guard-record"])) == [("input", "block", "You grumpf.")]
    assert len(kept.upstream.calls) == asked


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["Hello ", "there. ", "Bye."], [("output", "allow", "Hello there. Bye.")]),
        (["Fine. ", "You ", "grumpf. ", "Bye."], [("output", "block", None)]),
        (["To jane.doe@", "example.com. ", "Bye."], [("output", "redact", "To [EMAIL_1]. Bye.")]),
    ],
)
def test_a_stream_leaves_one_record_of_its_answer(kept: Kept, words: list[str], expected: list[Any]):
    """Committed before `[DONE]`; of what was blocked, what had been read by then."""
    kept.upstream.script = lambda body: chunks_of(words)
    with_texts = kept.chat("Hi.", "flagged" if expected[0][1] != "allow" else "all", stream=True)
    assert with_texts.text.rstrip().endswith("[DONE]")
    found = [r for r in kept.records(with_texts.headers["x-guard-record"]) if r["rail"] == "output"]
    assert [record["action"] for record in found] == [action for _, action, _ in expected]
    if expected[0][1] == "redact":
        assert [record["text"] for record in found] == [text for _, _, text in expected]
    if expected[0][1] == "block":
        assert "grumpf" in found[0]["text"]


@pytest.mark.parametrize("stream", [False, True])
def test_openais_store_false_holds_here_and_goes_on_to_the_upstream(kept: Kept, stream: bool):
    """Nothing is kept. `true` speaks of the upstream's own store: it forces nothing here."""
    kept.upstream.script = lambda body: chunks_of(["Hello."]) if stream else an_answer("Hello.")
    answer = kept.chat("You said hi.", "all", store=False, stream=stream)
    assert "x-guard-record" not in answer.headers
    assert kept.upstream.calls[-1]["store"] is False
    answer = kept.chat("You said hi.", "silent", store=True, stream=stream)
    assert "x-guard-record" not in answer.headers
    assert kept.upstream.calls[-1]["store"] is True


def test_a_client_that_leaves_does_not_get_out_of_its_record(kept: Kept):
    """What was blocked in one choice is kept though nobody waits for the other."""
    words = [a_chunk("You grumpf. ", index=1), a_chunk(finish="stop", index=1)]
    kept.upstream.script = lambda body: [*words, *[step for _ in range(100) for step in (0.1, a_chunk("So. "))]]
    body = {"model": "m", "n": 2, "messages": [{"role": "user", "content": "Hi."}], "guard": {"policy": "flagged"}}
    headers = {"Authorization": f"Bearer {kept.keys['web']}"}
    with kept.server.client.stream(
        "POST", "/v1/chat/completions", json=body | {"stream": True}, headers=headers
    ) as response:
        id = response.headers["x-guard-record"]
        for line in response.iter_lines():
            if "content_filter" in line:
                break
    until = time.monotonic() + 10
    while not (found := kept.records(id)):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert [record["action"] for record in found] == ["block"]


# What goes wrong.


@contextmanager
def full_disk(kept: Kept) -> Iterator[None]:
    """The server's process can make no file any longer than the store is: the system's own refusal."""
    process = kept.server.process.pid
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (1_024, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(kept: Kept) -> Iterator[None]:
    """Another process holds the file for writing."""
    with closing(sqlite3.connect(kept.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


FAULTS: dict[str, Callable[[Kept], Any]] = {"a full disk": full_disk, "a locked file": locked}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_fails_is_told_and_takes_nothing_down(tmp_path: Path, fault: str):
    """Verdicts without a record say so, or are refused, as the policy wants it; all is well again afterwards."""
    with keeping(tmp_path, GUARD_LOG_LEVEL="debug") as kept:
        assert kept.moderate("Good morning.", "all").status_code == 200
        kept.upstream.script = lambda body: chunks_of(["Hello."]) if body.get("stream") else an_answer("Hello.")
        with FAULTS[fault](kept):
            answer = kept.moderate(["You grumpf.", "Good morning."], "flagged").json()
            assert answer["results"][0]["action"] == "block"
            assert answer["results"][0]["reasons"][-1] == "not_stored: the store failed"
            assert answer["results"][1]["reasons"] == []
            refused = kept.moderate("You grumpf.", "refusing")
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:guard:problem:store-failed"
            assert refused.headers["Retry-After"]
            whole = kept.chat("Hi.", "all")
            assert (whole.status_code, whole.headers["x-guard-stored"]) == (200, "false")
            streamed = kept.chat("Hi.", "all", stream=True)
            assert (streamed.status_code, streamed.headers["x-guard-stored"]) == (200, "false")
            assert streamed.text.rstrip().endswith("[DONE]")
            calls = len(kept.upstream.calls)
            refused = kept.chat("Hi.", "refusing")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_failed")
            assert len(kept.upstream.calls) == calls, "the upstream is not asked for what nobody gets"
            assert kept.moderate("Good morning.", "default").status_code == 200
            assert kept.moderate("You grumpf.", "refusing", store=False).status_code == 200
            ready = kept.server.client.get("/readyz").json()
            assert ready["status"] == "ready"
            assert ready["store_problem"]
            metrics = kept.server.client.get("/metrics").text
            assert float(re.search(r'store_failures_total\{operation="add"\} (\S+)', metrics)[1]) >= 6  # type: ignore[index]
            assert "guard_store_failing 1.0" in metrics
        # As long as the store may be left alone.
        until = time.monotonic() + 45
        while kept.moderate("You grumpf.", "refusing").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert kept.server.client.get("/readyz").json()["store_problem"] is None
        assert "guard_store_failing 0.0" in kept.server.client.get("/metrics").text
        log = kept.server.log()
        assert '"store_fails"' in log
        assert '"store_works_again"' in log
        assert "grumpf" not in log
        assert "request_failed" not in log


def test_a_stream_says_at_its_end_that_its_answer_is_not_stored(tmp_path: Path):
    """The headers have gone out: a chunk without choices tells it, or an error in the place of the end."""
    with keeping(tmp_path) as kept:
        for policy, last in (("all", "[DONE]"), ("refusing", "store_failed")):
            kept.upstream.script = lambda body: [a_chunk("Hello there. And "), 3.5, *chunks_of(["bye."])]
            events: list[str] = []
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi."}], "guard": {"policy": policy}}
            url = "/v1/chat/completions"
            with kept.server.client.stream("POST", url, json=body | {"stream": True}) as response:
                assert "x-guard-stored" not in response.headers
                with full_disk(kept):
                    events = [line.removeprefix("data: ") for line in response.iter_lines() if line]
            assert last in events[-1]
            if policy == "all":
                told = json.loads(events[-2])
                assert (told["choices"], told["guard"]["stored"]) == ([], False)
                assert told["object"] == "chat.completion.chunk"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_begun_early_ends_with_its_prompts_record(tmp_path: Path, stream: bool):
    """Where that cannot be kept, and the policy refuses, nobody goes on with the answer."""
    with keeping(tmp_path) as kept:
        kept.upstream.script = lambda body: [step for _ in range(100) for step in (0.1, a_chunk("So. "))]
        with full_disk(kept):
            assert kept.chat("Hi.", "hasty", stream=stream).status_code == 503
        until = time.monotonic() + 5
        while kept.upstream.calls and not kept.upstream.cancelled:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize("damage", ["no database", "a folder without rights"])
def test_a_damaged_store_does_not_keep_the_service_from_starting(tmp_path: Path, damage: str):
    """It serves, and shows what is wrong."""
    file = tmp_path / "records.db"
    if damage == "no database":
        file.write_bytes(b"this is no database at all " * 100)
    else:
        # Where the log would be there is a folder: nobody, not even root, can open it as a file.
        (tmp_path / "records.db-wal").mkdir()
        (tmp_path / "records.db-wal" / "x").touch()
    with keeping(tmp_path) as kept:
        until = time.monotonic() + 10
        # The file is looked at beside the first requests.
        while not kept.server.client.get("/readyz").json()["store_problem"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert kept.moderate("Good morning.", "default").status_code == 200
        assert "not_stored" in str(kept.moderate("You grumpf.", "flagged").json()["results"][0]["reasons"])
        listed = kept.ask("GET", "/records")
        assert (listed.status_code, listed.json()["type"]) == (503, "urn:guard:problem:store-failed")


def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path):
    """Killed in the middle of many calls: the record of every answer that came is there, whole."""
    answered: list[str] = []
    with keeping(tmp_path) as kept:

        def ask(number: int) -> None:
            with httpx.Client(base_url=kept.server.url, timeout=20) as client:
                for count in range(10_000):
                    text = f"You grumpf, number {number} {count}."
                    try:
                        answer = client.post("/moderate", json={"input": [text, text], "policy": "flagged"})
                    except httpx.TransportError:
                        return
                    assert "not_stored" not in answer.text
                    answered.append(answer.json()["id"])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 30
        while len(answered) < 200:
            assert time.monotonic() < until
            time.sleep(0.01)
        kept.server.process.send_signal(signal.SIGKILL)
        kept.server.process.wait(20)
        for thread in threads:
            thread.join(30)
    with keeping(tmp_path) as kept:
        found: list[str] = []
        params = {"limit": "200"}
        while True:
            page = kept.ask("GET", "/records", params=params).json()
            assert all(record["text"].startswith("You grumpf, number") for record in page["records"])
            found += [record["id"] for record in page["records"]]
            if page["next"] is None:
                break
            params["after"] = page["next"]
    assert len(set(found)) == len(found)
    missing = {f"{id}-{place}" for id in answered for place in range(2)} - set(found)
    assert not missing
    assert kept.server.process.returncode == 0


def test_sigterm_writes_what_waits(tmp_path: Path):
    """And leaves one whole file, without a log beside it."""
    with keeping(tmp_path) as kept:
        id = kept.moderate("You grumpf.", "flagged").json()["id"]
        kept.server.process.terminate()
        assert kept.server.process.wait(20) == 0
        assert sorted(os.listdir(tmp_path)) == ["policies", "records.db"]
        with closing(sqlite3.connect(kept.file)) as db:
            assert db.execute("SELECT id FROM records").fetchall() == [(f"{id}-0",)]
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_shorter_retention_takes_hold_without_a_restart(tmp_path: Path):
    """Records that are older than their policy allows now are not shown any more; those of others stay."""
    with keeping(tmp_path) as kept:
        ids = {policy: kept.moderate("You grumpf.", policy).json()["id"] for policy in ("flagged", "refusing")}
        with closing(sqlite3.connect(kept.file)) as db, db:
            db.execute("UPDATE records SET created = created - 86400000000 * 5")
        assert all(kept.records(id) for id in ids.values())
        file = tmp_path / "policies" / "flagged" / "policy.yaml"
        file.write_text(file.read_text() + "retention_days: 4\n")
        until = time.monotonic() + 10
        while kept.records(ids["flagged"]):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert kept.records(ids["refusing"])

"""The soak's short form: a minute of mixed traffic with every fault of the schedule, and what it would find."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.soaking.again import Again, difference
from benchmarks.soaking.client import Done, streamed
from benchmarks.soaking.doubles import LETTER, answer_tokens, harmful_place, weights
from benchmarks.soaking.faults import SCHEDULE, Window
from benchmarks.soaking.traffic import CHAT, KINDS, Ask, Script
from guard.content import Content
from guard.policy.loader import load_policies
from guard.service import pattern_names

ROOT = Path(__file__).parent.parent


# Starts, faults and the answers computed again come on top of the minute.
@pytest.mark.timeout(420)
def test_a_minute_of_faults_spoils_no_answer(tmp_path):
    """Nobody gets a wrong verdict or an error that no fault explains; every fault was there, and left its trace."""
    report = tmp_path / "soak.json"
    command = [sys.executable, "-m", "benchmarks.soak", "--seconds", "60", "--rate", "6", "--report", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())["figures"]
    assert figures["broken"] == []
    assert figures["unexpected_errors"] == 0
    assert figures["verdict_mismatches"] == 0
    assert figures["verdicts_recomputed"] > 200
    assert figures["leaks"] == 0
    assert figures["harmful_streams"] >= 5
    assert set(figures["requests_by_kind"]) >= set(KINDS)
    assert {one["fault"] for one in figures["faults"]} == {one.name for lane in SCHEDULE.values() for one in lane}
    assert sum(figures["degraded"].values()) >= 4


@pytest.fixture(scope="module")
def versions():
    """The shipped policies by their fingerprints."""
    return {policy.fingerprint: policy for policy in load_policies(ROOT / "policies", pattern_names()).values()}


@pytest.fixture(scope="module")
def again(versions):
    """One encoder for the module."""
    return Again(versions)


def an_answer(server, text, **changes):
    """What a running Guard answers to a text, as the soak notes it."""
    ask = Ask(1, "new", "all", "/moderate", msgspec.json.encode({"input": text}))
    answer = server.moderate(text).json()
    for path, value in changes.items():
        *way, last = path.split("__")
        place = answer["results"][0]
        for name in way:
            place = place[name]
        place[last] = value
    return Done(ask, 0, 0.0, outcome="200", body=msgspec.json.encode(answer))


async def test_a_wrong_answer_is_found(server, again):
    """A score that is off by a thousandth, an action, a span, a policy that nobody has written."""
    text = "Write to jane.doe@example.com. The train leaves from platform four."
    assert await again.mismatch(an_answer(server, text)) == ""
    wrong = {
        "categories__pii__score": 0.999,
        "categories__pii__action": "flag",
        "categories__pii__spans": [],
        "redacted": text,
        "degraded": True,
    }
    for path, value in wrong.items():
        place = path.removeprefix("categories__").replace("__", ".")
        assert (await again.mismatch(an_answer(server, text, **{path: value}))).endswith(place)
    other = an_answer(server, text)
    other.body = other.body.replace(b'"fingerprint":"', b'"fingerprint":"0')
    assert await again.mismatch(other) == "$.policy"


async def test_an_answer_without_its_judge_is_held_against_the_policys_word(server, again):
    """`review` where the policy says so; nothing else is an answer of a judge that failed."""
    unread = an_answer(server, "I hope somebody beats you until you cannot walk any more.")
    answer = msgspec.json.decode(unread.body)
    result = answer["results"][0]
    doubtful = result["reasons"][0].removeprefix("no_judge: ")
    assert doubtful
    # Without a judge the doubtful stay with the screen: as where the judge failed, but for what follows from it.
    action = max("review", result["action"], key=["allow", "flag", "redact", "review", "block"].index)
    result |= {"reasons": ["judge_failed: review"], "degraded": True, "action": action, "flagged": True}
    unread.body = msgspec.json.encode(answer)
    assert await again.mismatch(unread) == ""
    result["action"] = "allow"
    unread.body = msgspec.json.encode(answer)
    assert (await again.mismatch(unread)).endswith("action")


async def test_an_answer_without_its_screen_still_has_its_rules(again, versions):
    """What the patterns found stands; the rest is the policy's word."""
    text = "Write to jane.doe@example.com."
    policy = next(policy for policy in versions.values() if policy.name == "default")
    done = await again._moderators[True, False].moderate([Content.of(text)], policy, patient=True)
    assert done.verdicts[0].action == "block"
    assert done.verdicts[0].categories["pii"].violated
    assert "screen_failed: block" in done.verdicts[0].reasons


async def test_a_leak_is_found(versions, again):
    """One character is too much where the sentence may wait for its end, the whole sentence anywhere else."""
    prompt = next(
        text
        for text in (f"{LETTER}{number}." for number in range(50))
        if "beaten" in harmful_place(text)[1] or "vermin" in harmful_place(text)[1]
    )
    start, sentence = harmful_place(prompt)
    said = "".join(answer_tokens(prompt, 0))
    body = msgspec.json.encode({"model": "scripted-20-0", "messages": [{"role": "user", "content": prompt}]})
    ask = Ask(1, "letter", "shop", CHAT, body, "stream", policy="default")

    def come(text):
        chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        return Done(ask, 0, 0.0, outcome="200", body=b"data: " + msgspec.json.encode(chunk) + b"\n\n")

    assert await again.leaks(come(said[:start]), strictly=True) is False
    assert await again.leaks(come(said[: start + 1]), strictly=True) is True
    assert await again.leaks(come(said[: start + len(sentence) - 1]), strictly=False) is False
    assert await again.leaks(come(said), strictly=False) is True


def test_a_fault_explains_what_follows_from_it_and_nothing_else():
    """Not another error, not another replica or key, not another time; a drained replica drops nothing that it has
    begun."""
    script = Script(1)

    def came(kind, outcome, began, ended, replica=0):
        return Done(script.of(kind, 7), replica, began, ended, outcome=outcome)

    upstream = Window("upstream_dead", 10.0, 12.0, 12.5)
    assert upstream.explains(came("chat", "502 upstream_closed", 9.0, 10.1))
    assert not upstream.explains(came("chat", "502 upstream_closed", 13.0, 13.1))
    assert not upstream.explains(came("chat", "500 None", 11.0, 11.1))
    drained = Window("replica_drained", 10.0, 14.0, 14.0)
    assert drained.explains(came("new", "refused", 11.0, 11.0, replica=1))
    assert not drained.explains(came("new", "refused", 11.0, 11.0, replica=0))
    assert not drained.explains(came("stream", "dropped", 9.5, 10.2, replica=1))
    flood = Window("flood", 10.0, 12.0, 12.0)
    assert flood.explains(came("flood", "429", 11.0, 11.0))
    assert not flood.explains(came("new", "429", 11.0, 11.0))
    judge = Window("judge_dead", 10.0, 12.0, 16.0)
    assert judge.degrades(came("doubtful", "200", 14.0, 14.1))
    assert not judge.degrades(came("doubtful", "200", 17.0, 17.1))
    assert not Window("judge_hesitates", 10.0, 12.0, 12.0).degrades(came("doubtful", "200", 11.0, 11.1))


def test_the_same_seed_asks_the_same():
    """And another seed something else; kinds come as often as they should."""
    first, same, other = ([Script(seed).ask(number) for number in range(400)] for seed in (1, 1, 2))
    assert first == same
    assert first != other
    counted = [sum(ask.kind == kind for ask in first) / 4 for kind in KINDS]
    assert all(abs(share - wanted) < 8 for share, wanted in zip(counted, KINDS.values(), strict=True))


def test_the_judges_numbers_add_up():
    """They are probabilities, and hang on the text."""
    told = weights("[INST] …\n<text>\nThe train leaves.\n</text>\n\nIs it so? [/INST]")
    assert sum(told.values()) == pytest.approx(1.0)
    assert told[" Yes"] < 0.1 < told[" No"]


def test_differences_are_named_by_their_place():
    """Numbers may differ by a millionth, all else not at all."""
    assert difference({"a": [1.0, {"b": "c"}]}, {"a": [1.0 + 5e-7, {"b": "c"}]}) == ""
    assert difference({"a": [1.0, {"b": "c"}]}, {"a": [1.0, {"b": "d"}]}) == "$.a[1].b"
    assert difference({"a": 0.5}, {"a": 0.500002}) == "$.a"
    assert difference({"a": 1, "b": 2}, {"a": 1}) == "$: b"


def test_a_refusal_is_no_text_of_a_stream():
    """What is said instead of an answer was not let through."""
    chunks = [
        {"choices": [{"delta": {"content": "Listed: "}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "\n\nNo.", "refusal": "No."}, "finish_reason": "content_filter"}]},
    ]
    body = b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    found = streamed(body)
    assert (found.text, found.finish, found.whole) == ("Listed: ", "content_filter", True)

"""What metrics and log tell of a guarded chat: rails, upstreams, first words, open streams."""

import asyncio
import contextlib

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guard.chat.conversation import messages_of
from guard.chat.rails import GuardedChat
from guard.chat.upstream import Upstreams
from guard.chat.watched import WatchedUpstream
from guard.errors import UpstreamFailed, UpstreamRefused
from guard.telemetry import RailDone, StreamBegun, UpstreamDone
from guard.testing import Recorder
from tests.chat.doubles import ScriptedUpstream, WordScreen, a_chunk, a_moderator, an_answer, chunks_of

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def events(recorder: Recorder, kind: type) -> list:
    return [event for event in recorder.events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (UpstreamRefused(400, b"{}"), "refused"),
        (UpstreamFailed("silent", code="upstream_timeout", status=504), "timeout"),
        (UpstreamFailed("gone", code="upstream_closed"), "failed"),
        (RuntimeError("a mistake"), "failed"),
    ],
)
async def test_each_stream_of_an_upstream_has_one_outcome(error, outcome):
    """And its first token is the first that says something: a role and a pause are none."""
    recorder = Recorder()
    script = [a_chunk("", role="assistant"), 0.05, a_chunk("Hello"), *([error] if error else [])]
    watched = WatchedUpstream(ScriptedUpstream(script), recorder)
    with contextlib.suppress(UpstreamRefused, UpstreamFailed, RuntimeError):
        assert [chunk async for chunk in watched.stream(ASKED, {})]
    (event,) = recorder.events
    assert (event.upstream, event.outcome) == ("scripted", outcome)
    assert 0.04 < event.first_token <= event.seconds


async def test_a_stream_that_nobody_wants_any_more_is_abandoned():
    """Its upstream is closed at once, and it had no first token."""
    recorder = Recorder()
    upstream = ScriptedUpstream(chunks_of(["Hello"]))
    chunks = WatchedUpstream(upstream, recorder).stream(ASKED, {})
    await anext(chunks)
    await chunks.aclose()
    assert upstream.closed == 1
    assert [(event.outcome, event.first_token) for event in recorder.events] == [("abandoned", None)]


async def test_a_whole_answer_has_an_outcome_too():
    """Given, or given up."""
    recorder = Recorder()
    watched = WatchedUpstream(ScriptedUpstream([0.05], whole=an_answer("Hello.")), recorder)
    await watched.complete(ASKED, {})
    asking = asyncio.create_task(watched.complete(ASKED, {}))
    await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert [event.outcome for event in recorder.events] == ["ok", "abandoned"]


@pytest.mark.parametrize(("word", "action"), [("fine", "allow"), ("grumpf", "block")])
async def test_a_stream_counts_while_it_is_open_and_its_rails_once(make_chat_policy, word, action):
    """The first words' time is ours: from the prompt's arrival on."""
    recorder = Recorder()
    upstream = ScriptedUpstream([a_chunk("All is "), 0.1, a_chunk(f"{word}."), a_chunk(finish="stop")])
    chat = GuardedChat(a_moderator(WordScreen()), Upstreams([upstream], {}), recorder)
    policy = make_chat_policy()
    begun = await chat.begin(dict(ASKED), messages_of(ASKED), policy, {})
    chunks = chat.stream(begun, policy, {})
    await anext(chunks)
    assert chat.streams == 1
    async for _ in chunks:
        pass
    assert chat.streams == 0
    assert [(e.policy, e.rail, e.action) for e in events(recorder, RailDone)] == [
        ("test", "input", "allow"),
        ("test", "output", action),
    ]
    (first,) = events(recorder, StreamBegun)
    assert 0.0 < first.seconds < 10.0


async def test_a_stream_whose_client_leaves_is_open_no_more(make_chat_policy):
    """Nothing was checked to its end: its output rail counts nowhere."""
    recorder = Recorder()
    upstream = ScriptedUpstream([a_chunk("All is "), 0.1, a_chunk("well."), 30.0])
    chat = GuardedChat(a_moderator(WordScreen()), Upstreams([WatchedUpstream(upstream, recorder)], {}), recorder)
    policy = make_chat_policy()
    begun = await chat.begin(dict(ASKED), messages_of(ASKED), policy, {})
    chunks = chat.stream(begun, policy, {})
    await anext(chunks)
    await chunks.aclose()
    assert chat.streams == 0
    assert [event.rail for event in events(recorder, RailDone)] == ["input"]
    assert [event.outcome for event in events(recorder, UpstreamDone)] == ["abandoned"]


def test_a_running_server_tells_of_its_chats(guarded):
    """Through `guard serve`: a stream, a blocked prompt, a server that fails and is named in the log."""
    before = _values(guarded)
    _ask(guarded, "Hi", stream=True)
    _ask(guarded, "grumpf")
    guarded.upstream.script = lambda body: [a_chunk("x"), None]
    _ask(guarded, "Hi", stream=True)
    after = _values(guarded)

    def more(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0.0)

    assert more("guard_upstream_requests_total", upstream="upstream", outcome="ok") == 1
    assert more("guard_upstream_requests_total", upstream="upstream", outcome="failed") == 1
    assert more("guard_upstream_first_token_seconds_count", upstream="upstream") == 2
    assert more("guard_chat_first_token_seconds_count", policy="grumpf") >= 1
    assert more("guard_chat_rails_total", policy="grumpf", rail="input", action="block") == 1
    assert more("guard_chat_rails_total", policy="grumpf", rail="input", action="allow") == 2
    assert after["guard_chat_streams", ()] == 0
    assert '"upstream_failed"' in guarded.server.log()


def _ask(guarded, text: str, **more: object) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]} | more
    assert guarded.server.client.post("/v1/chat/completions", json=body).content


def _values(guarded) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(guarded.server.client.get("/metrics").text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}

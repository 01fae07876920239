"""The output rail on streams: what leaves, when, and what never does."""

import asyncio
import json
import time

import pytest

from guard.chat.conversation import messages_of
from guard.chat.rails import GuardedChat
from guard.chat.upstream import Upstreams
from guard.errors import Overloaded, ScreenFailed, UpstreamFailed
from guard.testing import ScriptedJudge, a_policy
from tests.chat.doubles import ScriptedUpstream, a_chunk, a_moderator, chunks_of, finishes, said

LONG = [f"word{number} " for number in range(60)]


async def test_a_harmless_stream_arrives_as_it_came(streamed):
    """Not only the same text: the very same chunks, in their order, where they were not cut."""
    script = chunks_of(["The as", "sist", "ant is as", "sisting", " you. ", "", "Good!"])
    script.insert(2, a_chunk(vendor={"kind": "x"}))
    chunks = await streamed(script)
    assert said(chunks) == "The assistant is assisting you. Good!"
    assert chunks[-1].pop("guard")["output"].action == "allow"
    assert said(chunks) == said(script)
    assert finishes(chunks) == {0: "stop"}
    assert [chunk for chunk in chunks if "vendor" in chunk["choices"][0]["delta"]] == [script[2]]


async def test_a_block_cuts_the_stream_before_its_harm_and_ends_the_upstream(streamed):
    """What was harmless has left; of the harmful sentence nothing has; the upstream stops at once."""
    upstream = ScriptedUpstream(
        [
            *chunks_of(["All is well. ", "You"])[:-1],
            0.2,
            *chunks_of([" are a gru", "mpf", " indeed. "]),
            0.3,
            *chunks_of(LONG),
        ]
    )
    chunks = await streamed(upstream)
    assert "well" in said(chunks)
    assert "gru" not in json.dumps([c["choices"] for c in chunks])
    last = chunks[-1]["choices"][0]
    assert (last["finish_reason"], last["delta"]["refusal"]) == ("content_filter", "Not so.")
    assert chunks[-1]["guard"]["output"].categories["hate"].action == "block"
    assert upstream.closed == 1
    assert upstream.told < len(LONG)


async def test_text_after_a_harmful_one_never_leaves(streamed):
    """Nothing of a blocked choice leaves after its block, tool calls and late fields included."""
    call = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}
    chunks = await streamed(
        [*chunks_of(["grumpf"])[:-1], a_chunk(**call), a_chunk("more"), a_chunk(finish="tool_calls")]
    )
    assert said(chunks) == ""
    assert finishes(chunks) == {0: "content_filter"}
    assert "tool_calls" not in str([c["choices"] for c in chunks])


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "refusal", "thoughts_of_a_vendor"])
async def test_every_text_of_a_delta_is_checked(streamed, field):
    """Reasoning, refusals, and what no one here has heard of."""
    chunks = await streamed(
        [a_chunk(**{field: "you gru"}), a_chunk(**{field: "mpf"}), a_chunk("Fine."), a_chunk(finish="stop")]
    )
    assert finishes(chunks) == {0: "content_filter"}
    assert said(chunks, field=field) == ""
    chunks = await streamed([a_chunk(**{field: "you are"}), a_chunk(**{field: " right"}), a_chunk(finish="stop")])
    assert said(chunks, field=field) == "you are right"


async def test_content_in_parts_is_checked_and_passed_on(streamed):
    """Mistral's servers stream thoughts as lists of parts."""

    def part(text: str) -> dict:
        return a_chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": text}]}])

    script = [part("It is"), part(" fine."), a_chunk(finish="stop")]
    chunks = await streamed(script)
    texts = [c["choices"][0]["delta"]["content"][0]["thinking"][0]["text"] for c in chunks if c["choices"][0]["delta"]]
    assert "".join(texts) == "It is fine."
    assert finishes(await streamed([part("gru"), part("mpf"), a_chunk(finish="stop")])) == {0: "content_filter"}


async def test_a_tool_call_leaves_whole_or_not_at_all(streamed):
    """Its name waits for its arguments; harm in them is found though JSON hides it."""

    def call(**function: str) -> dict:
        return a_chunk(tool_calls=[{"index": 0, "function": function}])

    harmless = [
        call(name="mail", arguments=""),
        call(arguments='{"to": "x"'),
        call(arguments="}"),
        a_chunk(finish="tool_calls"),
    ]
    chunks = await streamed(harmless)
    chunks[-1].pop("guard")
    assert chunks == harmless
    harmful = [
        a_chunk("Wait."),
        *harmless[:1],
        call(arguments='{"to": "gr\\u0075m'),
        call(arguments='pf"}'),
        harmless[-1],
    ]
    chunks = await streamed(harmful)
    assert finishes(chunks) == {0: "content_filter"}
    assert "tool_calls" not in str([c["choices"] for c in chunks])


async def test_two_answers_are_two_streams(streamed):
    """One may be blocked while the other goes on; a chunk with both is told apart; usage is last."""
    both = a_chunk("Hello ")
    both["choices"] += a_chunk("You grumpf ", index=1)["choices"]
    usage = {"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 9}}
    script = [
        both,
        a_chunk("there.", index=0),
        a_chunk("x", index=1),
        a_chunk(finish="stop"),
        a_chunk(index=1, finish="stop"),
        usage,
    ]
    chunks = await streamed(script, n=2)
    assert said(chunks) == "Hello there."
    assert said(chunks, index=1) == ""
    assert finishes(chunks) == {0: "stop", 1: "content_filter"}
    assert chunks[-1] == usage


async def test_usage_comes_after_all_text(streamed, screen):
    """Unchanged, though it came while text was still held."""
    screen.delay = 0.03
    usage = {"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 9}}
    chunks = await streamed([*chunks_of(["Hello ", "there"]), usage])
    assert chunks[-1] == usage
    assert said(chunks[:-1]) == "Hello there"


async def test_usage_in_every_chunk_is_told_once(streamed):
    """Where a chunk is cut in two, its usage stays with the second part."""
    chunk = a_chunk("One sentence here. And half of another one that goes on") | {"usage": {"total_tokens": 5}}
    chunks = await streamed([chunk, 0.3, a_chunk("."), a_chunk(finish="stop")])
    assert said(chunks) == "One sentence here. And half of another one that goes on."
    assert len(chunks) > 3
    assert sum("usage" in chunk for chunk in chunks) == 1


async def test_logprobs_wait_with_their_text(streamed):
    """They spell it out."""
    harmful = a_chunk("grumpf")
    harmful["choices"][0]["logprobs"] = {"content": [{"token": "grumpf", "logprob": -1.0}]}
    chunks = await streamed([harmful, a_chunk(finish="stop")])
    assert "grumpf" not in str([c["choices"] for c in chunks])
    harmless = a_chunk("hello")
    harmless["choices"][0]["logprobs"] = {"content": [{"token": "hello", "logprob": -1.0}]}
    chunks = await streamed([harmless, a_chunk(finish="stop")])
    assert chunks[0] == harmless


async def test_an_answer_that_breaks_off_leaves_as_far_as_it_was_vetted(streamed):
    """First the text, then the error; without a `finish_reason` there is no end."""
    failed = UpstreamFailed("broke off", code="upstream_closed")
    chunks: list[dict] = []
    with pytest.raises(UpstreamFailed):
        await streamed([a_chunk("Half an ans"), failed], into=chunks)
    assert said(chunks) == "Half an ans"
    assert said(await streamed([*chunks_of(["All."]), failed])) == "All."


async def test_a_stream_without_an_end_or_without_anything_ends(streamed):
    """`[DONE]` without `finish_reason`; and no chunk at all."""
    assert said(await streamed([a_chunk("Hello there")])) == "Hello there"
    assert await streamed([]) == []


async def test_through_lets_text_leave_at_once_and_stops_late(streamed, make_chat_policy):
    """The price of no delay: what is harmful is seen when it has left."""
    policy = make_chat_policy(streaming={"mode": "through", "hold_back_ms": 50})
    chunks = await streamed(
        [a_chunk("You gru"), a_chunk("mpf "), 0.3, *[a_chunk(w) for w in LONG], 0.3, a_chunk("end")], policy=policy
    )
    assert said(chunks) == "You grumpf "
    assert finishes(chunks) == {0: "content_filter"}


async def test_buffer_keeps_everything_to_the_end(streamed, make_chat_policy, screen):
    """One check, of all of it."""
    policy = make_chat_policy(streaming={"mode": "buffer"})
    chunks = await streamed([*[a_chunk(w) for w in LONG], 0.2, a_chunk(finish="stop")], policy=policy)
    assert said(chunks) == "".join(LONG)
    assert [text for text in screen.texts if "word" in text] == ["".join(LONG)]
    assert said(await streamed(chunks_of([*LONG, "grumpf"]), policy=policy)) == ""


async def test_addresses_in_an_answer_are_replaced_however_they_are_cut(streamed):
    """The placeholder leaves once; the same address is the same placeholder; probabilities that spell it out go."""
    tokens = ["Write to jo", "e@x", ".org, not to a@y.org", " but to joe@", "x.org. ", "Bye"]
    chunks = await streamed(chunks_of(tokens))
    assert said(chunks) == "Write to [EMAIL_1], not to [EMAIL_2] but to [EMAIL_1]. Bye"
    call = a_chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": '{"to": "joe@x.org"}'}}])
    chunks = await streamed([call, a_chunk(finish="tool_calls")])
    assert json.loads(chunks[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]) == {"to": "[EMAIL_1]"}


async def test_a_replacement_is_reported_though_the_whole_answer_needed_none(streamed, screen):
    """What the client did not get is told, whatever the last check says."""
    found = screen.find
    screen.find = lambda text: found(text) if len(text) < 30 else ()
    chunks = await streamed([*chunks_of(["Write to joe@x.org now. "])[:-1], 0.2, *chunks_of(["All the rest is well."])])
    assert said(chunks) == "Write to [EMAIL_1] now. All the rest is well."
    assert chunks[-1]["guard"]["output"].action == "redact"


async def test_placeholders_are_put_back_however_they_are_cut(streamed, make_chat_policy):
    """The model never sees the address, the user does; what the answer adds is replaced under another number."""
    upstream = ScriptedUpstream(chunks_of(["Sent to [EM", "AIL", "_1", "], copy to b@z.org", "."]))
    policy = make_chat_policy(restore=True)
    chunks = await streamed(upstream, prompt="I am joe@x.org", policy=policy)
    assert upstream.bodies[0]["messages"][-1]["content"] == "I am [EMAIL_1]"
    assert said(chunks) == "Sent to joe@x.org, copy to [EMAIL_2]."
    call = a_chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": '{"to": "[EMAIL_1]"}'}}])
    chunks = await streamed([call, a_chunk(finish="tool_calls")], prompt="I am joe@x.org", policy=policy)
    assert "joe@x.org" in str(chunks[0]["choices"])


async def test_a_speculative_answer_waits_for_the_prompt(streamed, make_chat_policy, screen):
    """It is begun at once; a block throws it away and ends it; a redaction starts it anew."""
    policy = make_chat_policy(speculative=True)
    screen.delay = 0.05
    upstream = ScriptedUpstream(chunks_of(LONG))
    assert said(await streamed(upstream, policy=policy)) == "".join(LONG)
    assert len(upstream.bodies) == 1
    upstream = ScriptedUpstream([0.01, *chunks_of(LONG)])
    refused = await streamed(upstream, prompt="you grumpf", policy=policy)
    assert refused.report.action == "block"
    assert upstream.closed == len(upstream.bodies) == 1
    assert upstream.told <= 1
    upstream = ScriptedUpstream(chunks_of(["Hello."]))
    assert said(await streamed(upstream, prompt="I am joe@x.org", policy=policy)) == "Hello."
    assert [body["messages"][-1]["content"] for body in upstream.bodies] == ["I am joe@x.org", "I am [EMAIL_1]"]


async def test_a_screen_that_fails_in_the_middle_is_the_policys_business(streamed, screen):
    """`when_screen_fails: block` is the default of a chat's policy; `allow` lets the text leave, and says so."""
    screen.faults = [None, ScreenFailed("no")]
    chunks = await streamed(chunks_of(["Hello. "]))
    assert finishes(chunks) == {0: "content_filter"}
    assert chunks[-1]["guard"]["output"].degraded
    screen.faults = [None, ScreenFailed("no")]
    policy = a_policy(("hate", "pii"), when_screen_fails="allow")
    chunks = await streamed(chunks_of(["Hello. "]), policy=policy)
    assert said(chunks) == "Hello. "
    assert chunks[-1]["guard"]["output"].degraded


async def test_text_to_be_reviewed_leaves_and_says_so(streamed, screen):
    """A stream cannot wait for people."""
    screen.faults = [None, ScreenFailed("no")]
    chunks = await streamed(chunks_of(["Hello. "]), policy=a_policy(("hate", "pii"), when_screen_fails="review"))
    assert said(chunks) == "Hello. "
    assert (chunks[-1]["guard"]["output"].action, chunks[-1]["guard"]["output"].degraded) == ("review", True)


@pytest.mark.parametrize(("then", "finish"), [("allow", "stop"), ("review", "stop"), ("block", "content_filter")])
async def test_a_judge_that_fails_in_the_middle_is_the_policys_business_too(streamed, then, finish):
    """It is asked about doubtful text alone."""
    judge = ScriptedJudge({}, fail="gone")
    policy = a_policy(("hate", "pii"), when_judge_fails=then, chat={"streaming": {"hold_back_ms": 40}})
    chunks = await streamed(chunks_of(["All is well. ", "But hmm. ", "Bye."]), policy=policy, judge=judge)
    assert finishes(chunks) == {0: finish}
    assert chunks[-1]["guard"]["output"].degraded
    assert judge.asked
    assert "hmm" not in said(chunks) or finish == "stop"


async def test_a_judge_decides_about_a_doubtful_sentence(streamed):
    """Before it leaves."""
    script = chunks_of(["All is well. ", "But hmm. ", "Bye."])
    for probability, finish in ((0.02, "stop"), (0.98, "content_filter")):
        judge = ScriptedJudge({"hate": probability})
        chunks = await streamed(script, policy=a_policy(("hate", "pii")), judge=judge)
        assert finishes(chunks) == {0: finish}
        assert ("hmm" in said(chunks)) == (finish == "stop")


async def test_a_screen_that_is_busy_is_asked_again(streamed, screen):
    """Until the policy's deadline is over."""
    screen.faults = [None, Overloaded("busy"), Overloaded("busy")]
    assert said(await streamed(chunks_of(["Hello. "]))) == "Hello. "


async def test_a_screen_that_stays_busy_ends_the_stream_with_an_error(streamed, screen):
    """What waits is not let go."""
    screen.faults = [None, *[Overloaded("busy")] * 100]
    policy = a_policy(("hate", "pii"), deadline_ms=100)
    with pytest.raises(Overloaded):
        await streamed(chunks_of(["Hello. "]), policy=policy)


async def test_a_slow_reader_slows_the_upstream_down(screen, make_chat_policy):
    """What is read on ahead is some kilobytes, not a stream."""
    upstream = ScriptedUpstream([a_chunk("Word. ") for _ in range(5_000)])
    chat = GuardedChat(a_moderator(screen), Upstreams([upstream], {}))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    policy = make_chat_policy(streaming={"mode": "through"})
    chunks = chat.stream(await chat.begin(body, messages_of(body), policy, {}), policy, {})
    await anext(chunks)
    await asyncio.sleep(0.05)
    assert upstream.told < 500
    before = time.monotonic()
    await chunks.aclose()
    assert upstream.closed == 1
    assert time.monotonic() - before < 0.1


async def test_long_answers_are_read_a_bounded_number_of_times(streamed, screen):
    """However fast or slow it comes, and one word as long as a book."""
    words = [f"word{number} " for number in range(5_000)]
    chunks = await streamed([a_chunk(w) for w in words] + [a_chunk(finish="stop")])
    assert said(chunks) == "".join(words)
    assert sum(map(len, screen.texts)) < 8 * sum(map(len, words))
    screen.texts.clear()
    chunks = await streamed(chunks_of(["x" * 100_000]))
    assert said(chunks) == "x" * 100_000
    assert sum(map(len, screen.texts)) < 3 * 100_000


async def test_a_doubtful_sentence_waits_for_its_end(streamed):
    """The middle of it does not leave; when it turns out harmless, it does; when not, nothing of it does."""
    begin = [a_chunk("hmm what is it that"), 0.3, a_chunk(" you want ")]
    assert said(await streamed([*begin, 0.1, a_chunk("grumpf"), a_chunk(finish="stop")])) == ""
    assert (
        said(await streamed([*begin, a_chunk("here?"), a_chunk(finish="stop")])) == "hmm what is it that you want here?"
    )

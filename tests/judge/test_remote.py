"""The remote judge against a server in vLLM's shapes: right numbers, bounded errors, no dead server waited for."""

import asyncio
import math
import socket
import time

import msgspec
import pytest

from guard.content import Content, Rail, Turn
from guard.errors import ConfigError, JudgeFailed, Overloaded
from guard.judge import Inquiry
from guard.judge.remote import RemoteJudge
from guard.judge.rendering import WRAPPINGS, prompts
from guard.policy.prompt import question, self_reflection
from guard.question import Choice, Option, Predicate, Scale
from guard.testing import a_policy

MISTRAL = WRAPPINGS["mistral"]
POLICY = a_policy(["hate", "violence"])


def a_judge(url, **changes):
    return RemoteJudge(url, **{"model": "tiny", "wrapping": MISTRAL, "timeout": 5.0} | changes)


def about(text, *categories, policy=POLICY, **content):
    names = categories or ("hate",)
    asked = tuple([question(policy, name) for name in names])
    return Inquiry(Content(text, **content), asked, policy, names)


def expected(server, inquiry):
    """Yes against no, from the whole distribution."""
    found = []
    for prompt in prompts(inquiry, "instruct", MISTRAL, context=4_096):
        told = server.model(prompt.shared + prompt.text + prompt.ask)
        weights = [math.exp(told[label]) for label in prompt.labels]
        found.append((weights[0] / sum(weights), sum(weights)))
    return found


async def ask(judge, *inquiries, deadline=None):
    try:
        return await judge.answer(inquiries, deadline=deadline)
    finally:
        await judge.close()


async def test_label_probabilities_are_exact_where_the_server_takes_token_ids(judge_server):
    """Order is kept over texts and questions, the mass is told, tokens are counted."""
    inquiries = [about("one"), about("two", "violence", "hate"), about("three")]
    told = await ask(a_judge(judge_server.url), *inquiries)
    for inquiry, answers in zip(inquiries, told, strict=True):
        for answer, (probability, mass) in zip(answers.answers, expected(judge_server, inquiry), strict=True):
            assert answer.probabilities[0] == pytest.approx(probability, abs=1e-9)
            assert answer.mass == pytest.approx(mass, abs=1e-9)
            assert answer.error == 0
        assert answers.tokens > 20
        assert 0 < answers.cached_tokens < answers.tokens


async def test_a_growing_text_stays_where_a_servers_prefix_cache_finds_it(judge_server):
    """Everything up to the text's old end is the same, under the same salt; the session itself is not sent."""
    texts = ["It began well.", "It began well. Then it rained", "It began well. Then it rained, and nobody minded."]
    for api, route in (("completions", "/v1/completions"), ("chat", "/v1/chat/completions")):
        judge = a_judge(judge_server.url, salt="pepper", api=api)
        judge_server.model = lambda prompt: {" Yes": math.log(0.6), " No": math.log(0.3), " the": math.log(0.1)}
        for text in texts:
            inquiry = about(text, role="assistant", rail=Rail.OUTPUT, context=(Turn("user", "How was it?"),))
            await ask(judge, msgspec.structs.replace(inquiry, session="s-1"))
        bodies = judge_server.asked(route)
        assert [body["cache_salt"] for body in bodies] == ["pepper"] * 3
        assert "s-1" not in str(bodies)
        sent = [body["prompt"][0] if api == "completions" else body["messages"][0]["content"] for body in bodies]
        for number in (0, 1):
            end = sent[number].rindex(texts[number]) + len(texts[number])
            assert sent[number + 1].startswith(sent[number][:end])


async def test_an_answer_does_not_depend_on_its_batch(judge_server):
    """Alone or among thirty others, bit for bit."""
    judge = a_judge(judge_server.url)
    many = await judge.answer([about(f"text {n}") for n in range(30)], deadline=None)
    alone = await ask(judge, about("text 17"))
    assert many[17].answers == alone[0].answers
    assert len(judge_server.asked("/v1/completions")) == 3  # 30 prompts in calls of 16, and one


@pytest.mark.parametrize("ids", [False, "ignored"])
async def test_with_the_most_likely_tokens_only_the_bound_holds(judge_server, ids):
    """The truth is within the error that the answer states, whichever labels are missing."""
    judge_server.ids = ids
    judge = a_judge(judge_server.url)
    inquiries = [about(f"a text {n}") for n in range(40)]
    missed = 0
    for inquiry in inquiries:
        ((probability, _),) = expected(judge_server, inquiry)
        try:
            answer = (await judge.answer([inquiry], deadline=None))[0].answers[0]
        except JudgeFailed:
            missed += 1
            continue
        assert abs(answer.probabilities[0] - probability) <= answer.error + 1e-9
    assert missed < 35
    await judge.close()


async def test_the_chat_route_sends_no_control_words(judge_server):
    """The server writes its own template; labels are matched however their tokens are spelt."""
    judge_server.model = lambda prompt: {" Yes": math.log(0.6), " No": math.log(0.3), " the": math.log(0.1)}
    (told,) = await ask(a_judge(judge_server.url, api="chat"), about("a text"))
    assert told.answers[0].probabilities == pytest.approx((2 / 3, 1 / 3))
    (body,) = judge_server.asked("/v1/chat/completions")
    assert "[INST]" not in body["messages"][0]["content"]
    assert "a text" in body["messages"][0]["content"]


async def test_the_decisions_route_carries_the_policys_words(judge_server):
    """A predicate holds its category's definition; choices and scores pass as they are."""
    judge = a_judge(judge_server.url, api="decisions")
    free = Inquiry(
        Content("a text"),
        (
            Predicate("It rains."),
            Choice("Which?", (Option("a", "first"), Option("b"), Option("c"))),
            Scale("How much?", (Option("none"), Option("all"))),
        ),
    )
    by_policy, free_told = await ask(judge, about("a text"), free)
    assert by_policy.answers[0].probabilities == (0.75, 0.25)
    sent = judge_server.asked("/v1/decisions")
    words = [body["questions"][0]["instructions"] for body in sent]
    assert any("attacks people for a trait" in word for word in words)
    choice, scale = free_told.answers[1:]
    assert choice.probabilities == pytest.approx((0.75, 0.125, 0.125))
    assert choice.confidence == pytest.approx(0.4)
    assert scale.expected == pytest.approx(0.5)
    assert (free_told.tokens, free_told.cached_tokens) == (41, 3)


async def test_self_reflection_is_one_prompt_with_letters(judge_server):
    """A label for each category, and one for none."""
    policy = a_policy(["hate", "violence"], mode="self_reflection")
    inquiry = Inquiry(Content("a text"), (self_reflection(policy, Rail.INPUT),), policy, ("hate", "violence"))
    (told,) = await ask(a_judge(judge_server.url), inquiry)
    assert len(told.answers[0].probabilities) == 3
    assert sum(told.answers[0].probabilities) == pytest.approx(1)


async def test_a_label_of_two_tokens_is_refused_with_what_to_do(judge_server):
    """Reading the first half of a label would be a guess."""
    wrapping = WRAPPINGS["mistral"].__class__("", "", "\n ")
    with pytest.raises(JudgeFailed, match="GUARD_JUDGE_TEMPLATE"):
        await ask(a_judge(judge_server.url, wrapping=wrapping), about("a text"))


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 0])
async def test_a_busy_or_broken_server_is_asked_again(judge_server, fault):
    """A moment later, and then it answers."""
    judge_server.faults = [fault, fault]
    (told,) = await ask(a_judge(judge_server.url), about("a text"))
    assert len(told.answers) == 1


@pytest.mark.parametrize("fault", [400, 401, 404, 422])
async def test_a_refusal_is_final_and_says_what_to_look_at(judge_server, fault):
    """No second try, and nothing of what the server wrote."""
    judge = a_judge(judge_server.url)
    await judge.answer([about("first")], deadline=None)
    judge_server.faults = [fault]
    before = len(judge_server.calls)
    with pytest.raises(JudgeFailed) as failed:
        await ask(judge, about("THE TEXT"))
    assert len(judge_server.calls) == before + 1
    assert str(fault) in str(failed.value)
    assert "THE TEXT" not in str(failed.value)
    assert "127.0.0.1" not in str(failed.value)


async def test_retry_after_is_kept(judge_server):
    """The server knows best when to come back."""
    judge_server.faults, judge_server.retry_after = [429], "1"
    began = time.monotonic()
    await ask(a_judge(judge_server.url), about("a text"))
    assert time.monotonic() - began >= 1.0


async def test_a_dead_server_is_left_alone(unused_port):
    """After three failures nobody waits for it; later one call looks whether it is back."""
    judge = a_judge(f"http://127.0.0.1:{unused_port}")
    for _ in range(3):
        with pytest.raises(JudgeFailed, match="cannot be reached"):
            await judge.answer([about("a text")], deadline=None)
    began = time.monotonic()
    with pytest.raises(JudgeFailed, match="left alone"):
        await judge.answer([about("a text")], deadline=None)
    assert time.monotonic() - began < 0.05
    await judge.close()


async def test_the_breaker_closes_when_the_server_is_back(judge_server):
    """One call goes through after the pause, and all after it."""
    now = [0.0]
    judge = a_judge(judge_server.url, clock=lambda: now[0])
    judge_server.faults = [500] * 9
    for _ in range(3):
        with pytest.raises(JudgeFailed):
            await judge.answer([about("a text")], deadline=None)
    now[0] = 1.0
    await judge.answer([about("a text")], deadline=None)
    await ask(judge, about("another"))


async def test_a_late_answer_is_no_answer_and_counts_as_a_failure(judge_server):
    """The deadline holds over everything, and a slow server opens the breaker."""
    judge_server.delay = 2.0
    judge = a_judge(judge_server.url)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(JudgeFailed, match="deadline"):
            await judge.answer([about("a text")], deadline=time.monotonic() + 0.1)
        assert time.monotonic() - began < 0.5
    with pytest.raises(JudgeFailed, match="left alone"):
        await judge.answer([about("a text")], deadline=time.monotonic() + 0.1)
    await judge.close()


async def test_a_callers_leaving_stops_the_call_and_says_nothing_of_the_server(judge_server):
    """Its connection is closed, so that the server can stop computing; the breaker stays closed."""
    judge = a_judge(judge_server.url)
    await judge.answer([about("first")], deadline=None)
    judge_server.delay = 5.0
    for _ in range(4):
        call = asyncio.create_task(judge.answer([about("a text")], deadline=None))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    until = time.monotonic() + 5
    while judge_server.cancelled < 4 and time.monotonic() < until:
        await asyncio.sleep(0.02)
    assert judge_server.cancelled == 4
    judge_server.delay = 0.0
    await ask(judge, about("a text"))


async def test_more_than_may_wait_is_refused_at_once(judge_server):
    """And what is waiting goes on."""
    judge_server.delay = 0.3
    judge = a_judge(judge_server.url, waiting=2)
    running = asyncio.create_task(judge.answer([about("one"), about("two")], deadline=None))
    await asyncio.sleep(0.05)
    with pytest.raises(Overloaded):
        await judge.answer([about("three")], deadline=None)
    assert len(await running) == 2
    await ask(judge, about("three"))


async def test_connections_are_reused_and_carry_the_key(judge_server):
    """Twenty calls one after another need one connection."""
    judge = a_judge(judge_server.url, key="sesame", salt="grain")
    for n in range(20):
        await judge.answer([about(f"text {n}")], deadline=None)
    await judge.close()
    assert len(judge_server.connections) <= 3  # three tokenize calls ran together at the start
    assert {headers["Authorization"] for headers in judge_server.headers} == {"Bearer sesame"}
    assert {body["cache_salt"] for body in judge_server.asked("/v1/completions")} == {"grain"}


async def test_each_tenant_has_a_salt_of_its_own(judge_server):
    """Its server keeps their prompts apart, also where they are asked together; the same one has always the same."""
    judge = a_judge(judge_server.url, salt="grain")
    texts = [
        msgspec.structs.replace(about(text), tenant=tenant) for text, tenant in zip("abc", ("x", "y", "x"), strict=True)
    ]
    await judge.answer(texts, deadline=None)
    await judge.answer(texts[:1], deadline=None)
    await judge.close()
    salts = [(len(body["prompt"]), body["cache_salt"]) for body in judge_server.asked("/v1/completions")]
    assert sorted(count for count, _ in salts) == [1, 1, 2]
    assert len({salt for _, salt in salts} - {"grain"}) == 2


async def test_the_policy_comes_first_so_that_its_prefix_can_be_cached(judge_server):
    """Two texts under one policy share everything up to the text."""
    await ask(a_judge(judge_server.url), about("first words"), about("other words"))
    (body,) = judge_server.asked("/v1/completions")
    one, two = body["prompt"]
    shared = one[: one.index("first words")]
    assert two.startswith(shared)
    assert "attacks people for a trait" in shared


async def test_a_long_text_is_read_in_windows(judge_server):
    """What stands at its end counts as much as its beginning."""
    told = {" Yes": math.log(0.9), " No": math.log(0.1)}
    other = {" Yes": math.log(0.1), " No": math.log(0.9)}
    judge_server.model = lambda prompt: told if "NEEDLE" in prompt else other
    text = "some plain words " * 2_000 + "NEEDLE"
    (answers,) = await ask(a_judge(judge_server.url, context=4_096), about(text))
    assert answers.answers[0].probabilities[0] == pytest.approx(0.9)
    prompts_sent = [prompt for body in judge_server.asked("/v1/completions") for prompt in body["prompt"]]
    assert len(prompts_sent) > 2
    assert all(len(prompt) < 4_096 * 4 for prompt in prompts_sent)


async def test_a_long_text_stays_whole_where_the_policy_says_so(judge_server):
    """`long_text: whole` leaves it to the server's context."""
    policy = a_policy(["hate"], long_text="whole")
    await ask(a_judge(judge_server.url), about("some plain words " * 2_000, policy=policy))
    (body,) = judge_server.asked("/v1/completions")
    assert len(body["prompt"]) == 1


async def test_wildguard_is_asked_in_its_own_words(judge_server):
    """On the input rail one prompt for all categories; on the output rail its three verdicts, summed out."""
    judge = a_judge(judge_server.url, form="wildguard")
    (told,) = await judge.answer([about("a text", "hate", "violence")], deadline=None)
    (body,) = judge_server.asked("/v1/completions")
    assert body["prompt"][0].endswith("Answers: [/INST]\n<|assistant|>\nHarmful request:")
    assert told.answers[0] == told.answers[1]
    answered = about("an answer", role="assistant", rail=Rail.OUTPUT, context=(Turn("user", "a question"),))
    (told,) = await ask(judge, answered)
    assert 0 < told.answers[0].probabilities[0] < 1
    sent = [prompt for body in judge_server.asked("/v1/completions")[1:] for prompt in body["prompt"]]
    assert len(sent) == 7
    assert all("a question" in prompt and "an answer" in prompt for prompt in sent)


async def test_free_questions_need_an_instruct_model():
    """A classifier with a format of its own knows its own question only."""
    judge = a_judge("http://127.0.0.1:9", form="wildguard")
    with pytest.raises(JudgeFailed, match="wildguard"):
        await ask(judge, Inquiry(Content("a text"), (Predicate("It rains."),)))


@pytest.mark.parametrize(
    ("url", "changes", "names"),
    [
        ("vllm:8000", {}, "GUARD_JUDGE_URL"),
        ("http://", {}, "GUARD_JUDGE_URL"),
        ("http://vllm:8000", {"model": ""}, "GUARD_JUDGE_MODEL"),
        ("http://vllm:8000", {"api": "chat", "form": "wildguard"}, "GUARD_JUDGE_FORMAT"),
    ],
)
async def test_bad_settings_are_named(url, changes, names):
    """Before anything is asked."""
    with pytest.raises(ConfigError, match=names):
        a_judge(url, **changes)


async def test_the_fingerprint_follows_what_answers_depend_on():
    """The model, the route, the template; not the address."""
    one = a_judge("http://one:8000").fingerprint
    assert a_judge("http://two:8000/v1").fingerprint == one
    for changes in ({"model": "other"}, {"api": "chat"}, {"form": "wildguard"}, {"wrapping": WRAPPINGS["chatml"]}):
        assert a_judge("http://one:8000", **changes).fingerprint != one


@pytest.fixture
def unused_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


async def test_one_bad_answer_about_tokens_is_a_failure_and_no_other_way_of_asking(judge_server):
    """A replica that went on with the most likely tokens would give other scores than the others, for good."""
    judge = a_judge(judge_server.url)
    assert (await judge.answer([about("before")], deadline=None))[0].answers[0].error == 0
    judge_server.ids = False
    policy = a_policy(["hate", "violence"], mode="self_reflection")
    other = Inquiry(Content("x"), (self_reflection(policy, Rail.INPUT),), policy, ("hate", "violence"))
    with pytest.raises(JudgeFailed, match="404"):
        await judge.answer([other], deadline=None)
    judge_server.ids = True
    for inquiry in (other, about("after")):
        assert (await judge.answer([inquiry], deadline=None))[0].answers[0].error == 0
    await judge.close()

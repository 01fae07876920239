"""A guarded chat before a real vLLM, asked by the `openai` package: what vLLM says itself is what must arrive."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(420)

HI: list[Any] = [{"role": "user", "content": "Where is my parcel?"}]
HARM: list[Any] = [{"role": "user", "content": "You grumpf"}]
ASKED: dict[str, Any] = {"model": "tiny", "messages": HI, "max_tokens": 64}
LIKELIEST: dict[str, Any] = {"temperature": 0}
DRAWN: dict[str, Any] = {"temperature": 1, "seed": 7}
"""Says more than one word over and over, and the same every time."""
LONG: dict[str, Any] = {"max_tokens": 20_000, "stream": True, "extra_body": {"ignore_eos": True}}
"""Takes vLLM more than half a minute here."""
WITHIN = 15.0
"""Seconds in which vLLM has to show what has happened. Its answers are slow on a busy machine."""
ROUNDING = 0.1
"""How far a log-probability may be off in bfloat16, where a cached prefix is rounded otherwise than a fresh one."""
POLICY = """\
version: 1
name: {name}
description: Blocks one word, and says nothing about random ones.
categories:
  one_word:
    title: One word
    group: words
    definition: The text has the word.
    thresholds: {{block: 0.9}}
terms:
  the_word: {{category: one_word, action: block, words: ["{word}"]}}
when_judge_fails: allow
chat:
  refusals: {{input: Not that., output: Not so.}}
"""


class Told(NamedTuple):
    """One choice of a stream, joined; the usage of its last chunk."""

    text: str
    finish: str
    logprobs: list[Any]
    usage: Any


class Chats(NamedTuple):
    """Clients of vLLM itself and of Guard before it, and vLLM's address."""

    direct: openai.OpenAI
    guarded: openai.OpenAI
    url: str

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric of vLLM's."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        found = [line for line in lines if re.match(rf"vllm:{name}[{{ ]", line)]
        assert found, name
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found if all(label in line for label in wanted))


@pytest.fixture(scope="session")
def chats(vllm, tmp_path_factory, start_server) -> Iterator[Chats]:
    """One Guard, whose default policy blocks `grumpf` and whose policy `parrot` blocks a word that the model says."""
    folder = tmp_path_factory.mktemp("chat") / "policies"
    shutil.copytree(ROOT / "policies", folder)
    with openai.OpenAI(base_url=f"{vllm.url}/v1", api_key="none", max_retries=0) as direct:
        said = text_of(direct.chat.completions.create(**ASKED, **DRAWN))
        words = {"grumpf": "grumpf", "parrot": re.findall(r"\w{2,}", said)[0]}
        for name, word in words.items():
            (folder / name).mkdir()
            (folder / name / "policy.yaml").write_text(POLICY.format(name=name, word=word), encoding="utf-8")
        settings = {"POLICIES": str(folder), "DEFAULT_POLICY": "grumpf", "UPSTREAM_URL": vllm.url}
        with (
            start_server(**{f"GUARD_{name}": value for name, value in settings.items()}) as server,
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as guarded,
        ):
            yield Chats(direct, guarded, vllm.url)


def text_of(answer: Any) -> str:
    """What a whole answer's first choice says."""
    return answer.choices[0].message.content


def told(chunks: Any, *, index: int = 0) -> Told:
    """What a stream says in all."""
    chunks = list(chunks)
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    (finish,) = [choice.finish_reason for choice in choices if choice.finish_reason is not None]
    logprobs = [token for choice in choices if choice.logprobs for token in choice.logprobs.content]
    return Told("".join(choice.delta.content or "" for choice in choices), finish, logprobs, chunks[-1].usage)


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether two answers have the same tokens, with the same probabilities give or take their rounding."""
    pairs = list(zip(one, other, strict=True))
    return all(a.token == b.token and abs(a.logprob - b.logprob) < ROUNDING for a, b in pairs)


@pytest.mark.parametrize("drawn", [LIKELIEST, DRAWN], ids=["likeliest", "drawn"])
def test_an_answer_is_vllms_own(chats, drawn):
    """Whole and streamed, to the letter; its usage, and its own fields beside ours."""
    wanted = chats.direct.chat.completions.create(**ASKED, **drawn)
    whole = chats.guarded.chat.completions.create(**ASKED, **drawn)
    assert whole.choices[0].message.content == text_of(wanted)
    assert whole.choices[0].finish_reason == wanted.choices[0].finish_reason
    assert whole.usage.completion_tokens == wanted.usage.completion_tokens
    assert whole.model_extra.keys() - wanted.model_extra.keys() == {"guard"}
    streamed = told(chats.guarded.chat.completions.create(**ASKED, **drawn, stream=True))
    assert (streamed.text, streamed.finish) == (text_of(wanted), wanted.choices[0].finish_reason)
    assert streamed.usage is None


def test_usage_comes_last(chats):
    """Where it is asked for: a chunk without choices, with vLLM's own numbers."""
    asked = ASKED | DRAWN | {"stream": True, "stream_options": {"include_usage": True}}
    streams = [told(client.chat.completions.create(**asked)) for client in (chats.direct, chats.guarded)]
    counts = [(one.usage.prompt_tokens, one.usage.completion_tokens) for one in streams]
    assert counts[0] == counts[1]
    assert counts[0][1] == ASKED["max_tokens"]


def test_log_probabilities_stay_with_their_tokens(chats):
    """Whole and streamed: every token once, in order."""
    asked = ASKED | DRAWN | {"logprobs": True, "top_logprobs": 2}
    wanted = chats.direct.chat.completions.create(**asked).choices[0].logprobs.content
    assert len(wanted) == ASKED["max_tokens"]
    assert same(wanted, chats.guarded.chat.completions.create(**asked).choices[0].logprobs.content)
    streamed = told(chats.guarded.chat.completions.create(**asked, stream=True))
    assert same(wanted, streamed.logprobs)
    assert "".join(token.token for token in streamed.logprobs) == streamed.text


def test_several_answers_keep_apart(chats):
    """`n=2`, whose streams arrive mixed."""
    asked = ASKED | DRAWN | {"n": 2}
    wanted = [choice.message.content for choice in chats.direct.chat.completions.create(**asked).choices]
    assert wanted[0] != wanted[1]
    assert [c.message.content for c in chats.guarded.chat.completions.create(**asked).choices] == wanted
    chunks = list(chats.guarded.chat.completions.create(**asked, stream=True))
    assert [told(chunks, index=index).text for index in (0, 1)] == wanted


def test_stop_strings_stop(chats):
    """vLLM holds them back itself, and Guard loses nothing before them."""
    said = text_of(chats.direct.chat.completions.create(**ASKED, **DRAWN))
    asked = ASKED | DRAWN | {"stop": said[30:40]}
    wanted = chats.direct.chat.completions.create(**asked)
    assert said.startswith(text_of(wanted))
    streamed = told(chats.guarded.chat.completions.create(**asked, stream=True))
    assert (streamed.text, streamed.finish) == (text_of(wanted), "stop")
    assert text_of(chats.guarded.chat.completions.create(**asked)) == text_of(wanted)


def test_a_blocked_prompt_never_reaches_vllm(chats):
    """By vLLM's own count of what it has been asked."""
    before = chats.metric("request_success_total"), chats.metric("prompt_tokens_total")
    refused = chats.guarded.chat.completions.create(**ASKED | {"messages": HARM})
    assert refused.choices[0].message.refusal == "Not that."
    assert told(chats.guarded.chat.completions.create(**ASKED | {"messages": HARM}, stream=True)).text == "Not that."
    assert (chats.metric("request_success_total"), chats.metric("prompt_tokens_total")) == before
    # The count is one that moves.
    chats.guarded.chat.completions.create(**ASKED)
    until(lambda: chats.metric("request_success_total") == before[0] + 1, "the request is not counted")


def test_a_blocked_answer_never_arrives(chats):
    """Whole and streamed, where the policy names a word that the model says."""
    asked = ASKED | DRAWN | {"extra_body": {"guard": {"policy": "parrot"}}}
    assert text_of(chats.guarded.chat.completions.create(**asked)) == "Not so."
    streamed = told(chats.guarded.chat.completions.create(**asked, stream=True))
    assert streamed.finish == "content_filter"
    came = streamed.text.removesuffix("Not so.").rstrip()
    said = text_of(chats.direct.chat.completions.create(**ASKED, **DRAWN))
    assert said.startswith(came)
    assert re.findall(r"\w{2,}", came) == []


def test_a_client_that_leaves_ends_vllms_work(chats):
    """Soon after, and before vLLM has said all that it was asked for."""
    before = chats.metric("generation_tokens_total")
    stream = chats.guarded.chat.completions.create(**ASKED | DRAWN | LONG)
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    # vLLM writes its gauges now and then.
    until(lambda: chats.metric("num_requests_running") == 1, "vLLM is not at work")
    stream.close()
    until(lambda: chats.metric("num_requests_running") == 0, "vLLM goes on")
    assert chats.metric("generation_tokens_total") - before < LONG["max_tokens"]


def test_a_block_ends_vllms_work(chats):
    """As a client that leaves does."""
    before = chats.metric("generation_tokens_total")
    asked = ASKED | DRAWN | LONG | {"extra_headers": {"X-Guard-Policy": "parrot"}}
    assert told(chats.guarded.chat.completions.create(**asked)).finish == "content_filter"
    until(lambda: chats.metric("num_requests_running") == 0, "vLLM goes on")
    assert chats.metric("generation_tokens_total") - before < LONG["max_tokens"]


def test_vllms_errors_are_passed_on(chats):
    """With its own words."""
    for client in (chats.direct, chats.guarded):
        with pytest.raises(openai.NotFoundError, match="another"):
            client.chat.completions.create(**ASKED | {"model": "another"})
        with pytest.raises(openai.BadRequestError, match="max_model_len"):
            client.chat.completions.create(**ASKED | {"max_tokens": 10**6}, stream=True)
    assert [model.id for model in chats.guarded.models.list()] == ["tiny"]


def until(true: Callable[[], bool], else_: str) -> None:
    """Waits until something is so."""
    end = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < end, else_
        time.sleep(0.05)

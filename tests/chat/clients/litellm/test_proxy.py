"""Client, LiteLLM's proxy, Guard, upstream; and LiteLLM's own Python calls: what changes is `api_base`."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.chat.clients.litellm.conftest import Proxy, environment, python
from tests.chat.clients.scripts import CALL, HARM, HARMFUL, HI, SLOW_DOWN, TOOL, calling, told_with_usage
from tests.chat.doubles import a_chunk, an_answer, chunks_of


@pytest.fixture
def client(guarded: Any, proxy: Proxy) -> Iterator[openai.OpenAI]:
    """The client of the proxy's users, who know nothing of Guard."""
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=proxy.key, max_retries=0) as made:
        yield made


def streamed(client: openai.OpenAI, messages: list[Any] = HI, **more: Any) -> list[Any]:
    """The chunks of a stream."""
    return list(client.chat.completions.create(model="guarded", messages=messages, stream=True, **more))


def text(chunks: list[Any]) -> str:
    """What they say in all."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def finish(chunks: list[Any]) -> str:
    """How the stream ends."""
    (found,) = [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason is not None]
    return found


def test_an_answer_comes_through(client: openai.OpenAI):
    """With its usage."""
    answer = client.chat.completions.create(model="guarded", messages=HI)
    assert answer.choices[0].message.content == "Hello there."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3


def test_a_stream_comes_through(client: openai.OpenAI, guarded: Any):
    """With the upstream's usage in the last chunk."""
    guarded.upstream.script = lambda body: told_with_usage(["Hello ", "there."])
    chunks = streamed(client, stream_options={"include_usage": True})
    assert (text(chunks), finish(chunks)) == ("Hello there.", "stop")
    assert chunks[-1].usage.total_tokens == 3


def test_a_blocked_prompt_is_a_refusal(client: openai.OpenAI, guarded: Any):
    """In the answer's own place; the proxy passes its `finish_reason` on."""
    choice = client.chat.completions.create(model="guarded", messages=HARM).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("content_filter", "Not that.")
    chunks = streamed(client, HARM)
    assert (text(chunks), finish(chunks)) == ("Not that.", "content_filter")
    assert guarded.upstream.calls == []


def test_a_blocked_prompt_may_be_an_exception(client: openai.OpenAI, guarded: Any):
    """400, as Guard's own."""
    with pytest.raises(openai.BadRequestError, match="Not that"):
        client.chat.completions.create(model="as-error", messages=HARM)
    assert guarded.upstream.calls == []


def test_a_blocked_answer_ends_its_stream(client: openai.OpenAI, guarded: Any):
    """Nothing of it arrives; the refusal does."""
    guarded.upstream.script = lambda body: chunks_of(HARMFUL) if body.get("stream") else an_answer("".join(HARMFUL))
    chunks = streamed(client)
    assert (text(chunks), finish(chunks)) == ("Not so.", "content_filter")
    choice = client.chat.completions.create(model="guarded", messages=HI).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("content_filter", "Not so.")


def test_tool_calls_come_through(client: openai.OpenAI, guarded: Any):
    """Whole and streamed."""
    guarded.upstream.script = lambda body: (
        calling('{"for"', ': "x"}') if body.get("stream") else an_answer(None, tool_calls=[CALL])
    )
    answer = client.chat.completions.create(model="guarded", messages=HI, tools=[TOOL])
    (whole,) = answer.choices[0].message.tool_calls or ()
    assert (whole.id, whole.function.model_dump()) == ("call-1", CALL["function"])
    chunks = streamed(client, tools=[TOOL])
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert (calls[0].id, calls[0].function.name) == ("call-1", "look")
    assert "".join(call.function.arguments or "" for call in calls) == '{"for": "x"}'
    assert finish(chunks) == "tool_calls"


def test_errors_come_through(client: openai.OpenAI, guarded: Any):
    """By status, and in the middle of a stream, after what was vetted."""
    guarded.upstream.script = lambda body: SLOW_DOWN
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client.chat.completions.create(model="guarded", messages=HI)
    with pytest.raises(openai.RateLimitError, match="slow down"):
        streamed(client)
    guarded.upstream.script = lambda body: [a_chunk("Hello. "), None]
    heard = []
    with pytest.raises(openai.APIError, match="broke off"):  # noqa: PT012 (the stream breaks off on the way)
        for chunk in client.chat.completions.create(model="guarded", messages=HI, stream=True):
            heard.append(chunk)
    assert text(heard) == "Hello. "


SDK = """
import json, sys
import litellm

base, prompts = sys.argv[1], json.loads(sys.argv[2])
told = []
for prompt in prompts:
    asked = {"model": "openai/m", "api_base": base, "api_key": "mine", "num_retries": 0}
    asked["messages"] = [{"role": "user", "content": prompt}]
    whole = litellm.completion(**asked)
    chunks = list(litellm.completion(**asked, stream=True))
    joined = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    (finish,) = [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason is not None]
    told.append([whole.choices[0].message.content, whole.choices[0].finish_reason, joined, finish])
try:
    litellm.completion(**asked, extra_headers={"X-Guard-Policy": "as-error"})
except litellm.BadRequestError as exc:
    told.append([type(exc).__name__, exc.status_code])
print(json.dumps(told))
"""


def test_litellms_own_calls_read_the_same(guarded: Any):
    """Its Python package: answers, streams, refusals, and an exception where the policy wants one."""
    command = [python(), "-c", SDK, f"{guarded.server.url}/v1", json.dumps(["Hi", HARM[0]["content"]])]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [
        ["Hello there.", "stop", "Hello there.", "stop"],
        ["Not that.", "content_filter", "Not that.", "content_filter"],
        ["BadRequestError", 400],
    ]

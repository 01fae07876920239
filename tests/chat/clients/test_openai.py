"""The `openai` package against a guarded chat: what its users change is `base_url`."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.chat.clients.scripts import CALL, HARM, HARMFUL, HI, SLOW_DOWN, calling, told_with_usage
from tests.chat.doubles import a_chunk, an_answer, chunks_of


@pytest.fixture
def client(guarded: Any) -> Iterator[openai.OpenAI]:
    """The client as its users make it."""
    with openai.OpenAI(base_url=f"{guarded.server.url}/v1", api_key="mine", max_retries=0) as made:
        yield made


def test_an_answer_is_read(client: openai.OpenAI):
    """Our field beside OpenAI's own."""
    answer = client.chat.completions.create(model="m", messages=HI)
    assert answer.choices[0].message.content == "Hello there."
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3
    assert answer.model_extra is not None
    assert answer.model_extra["guard"]["input"]["action"] == "allow"


def test_a_stream_is_read(client: openai.OpenAI, guarded: Any):
    """With its usage in the last chunk."""
    guarded.upstream.script = lambda body: told_with_usage(["Hello ", "there."])
    stream = client.chat.completions.create(model="m", messages=HI, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello there."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 3


def test_a_blocked_prompt_is_a_refusal(client: openai.OpenAI, guarded: Any):
    """In the place where OpenAI has it; no exception."""
    choice = client.chat.completions.create(model="m", messages=HARM).choices[0]
    assert (choice.finish_reason, choice.message.refusal) == ("content_filter", "Not that.")
    chunks = list(client.chat.completions.create(model="m", messages=HARM, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Not that."
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert guarded.upstream.calls == []


def test_a_blocked_prompt_may_be_an_exception(client: openai.OpenAI):
    """The one that OpenAI's own filter raises on Azure; under Mistral's style its status."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="m", messages=HARM, extra_body={"guard": {"policy": "as-error"}})
    assert refused.value.code == "content_filter"
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="m", messages=HARM, extra_headers={"X-Guard-Policy": "as-mistral"})


def test_a_blocked_answer_ends_its_stream(client: openai.OpenAI, guarded: Any):
    """Nothing of it arrives; the refusal does."""
    guarded.upstream.script = lambda body: chunks_of(HARMFUL)
    chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Not so."
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    guarded.upstream.script = lambda body: an_answer("".join(HARMFUL))
    assert client.chat.completions.create(model="m", messages=HI).choices[0].message.refusal == "Not so."


def test_tool_calls_are_read(client: openai.OpenAI, guarded: Any):
    """Whole and streamed, put together by the client's own helper."""
    guarded.upstream.script = lambda body: an_answer(None, tool_calls=[CALL])
    (found,) = client.chat.completions.create(model="m", messages=HI).choices[0].message.tool_calls or ()
    assert found.type == "function"
    assert found.function.arguments == '{"for": "x"}'
    guarded.upstream.script = lambda body: calling('{"for"', ': "x"}')
    with client.chat.completions.stream(model="m", messages=HI) as stream:
        answer = stream.get_final_completion()
    (found,) = answer.choices[0].message.tool_calls or ()
    assert (found.function.name, found.function.arguments) == ("look", '{"for": "x"}')


def test_errors_are_the_clients_own(client: openai.OpenAI, guarded: Any):
    """By status, and in the middle of a stream."""
    guarded.upstream.script = lambda body: SLOW_DOWN
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client.chat.completions.create(model="m", messages=HI)
    guarded.upstream.script = lambda body: [a_chunk("Hello. "), None]
    with pytest.raises(openai.APIError, match="broke off"):
        list(client.chat.completions.create(model="m", messages=HI, stream=True))
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="m", messages=HI, extra_body={"guard": {"policy": "nope"}})


def test_models_are_listed(client: openai.OpenAI):
    """The upstream's."""
    assert [model.id for model in client.models.list()] == ["m"]


async def test_the_asynchronous_client_reads_the_same(guarded: Any):
    """Answers, streams, refusals."""
    url = f"{guarded.server.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="mine", max_retries=0) as client:
        answer = await client.chat.completions.create(model="m", messages=HI)
        assert answer.choices[0].message.content == "Hello there."
        stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == "Hello there."
        stream = await client.chat.completions.create(model="m", messages=HARM, stream=True)
        assert [c.choices[0].finish_reason async for c in stream][-1] == "content_filter"

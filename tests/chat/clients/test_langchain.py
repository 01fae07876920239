"""LangChain's `ChatOpenAI` against a guarded chat: what its users change is `base_url`."""

from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.chat.clients.scripts import CALL, HARMFUL, SLOW_DOWN, calling, told_with_usage
from tests.chat.doubles import a_chunk, an_answer, chunks_of

HARM = "You grumpf"


@pytest.fixture
def make_model(guarded: Any) -> Any:
    """The model as its users make it; keywords are its own."""

    def make(**more: Any) -> ChatOpenAI:
        return ChatOpenAI(model="m", base_url=f"{guarded.server.url}/v1", api_key="mine", max_retries=0, **more)

    return make


@tool
def look(target: str) -> str:
    """Looks something up."""
    return target


def test_an_answer_is_read(make_model: Any):
    """With its usage."""
    answer = make_model().invoke("Hi")
    assert answer.content == "Hello there."
    assert answer.usage_metadata["total_tokens"] == 3
    assert answer.response_metadata["finish_reason"] == "stop"


def test_a_stream_is_read(make_model: Any, guarded: Any):
    """Its usage is asked for and comes last."""
    guarded.upstream.script = lambda body: told_with_usage(["Hello ", "there."])
    chunks = list(make_model(stream_usage=True).stream("Hi"))
    whole = sum(chunks[1:], chunks[0])
    assert whole.content == "Hello there."
    assert whole.usage_metadata["total_tokens"] == 3
    assert guarded.upstream.calls[0]["stream_options"] == {"include_usage": True}


def test_a_blocked_prompt_is_a_refusal(make_model: Any, guarded: Any):
    """In the text, and where LangChain keeps OpenAI's refusals."""
    answer = make_model().invoke(HARM)
    assert answer.content == "Not that."
    assert answer.additional_kwargs["refusal"] == "Not that."
    assert answer.response_metadata["finish_reason"] == "content_filter"
    chunks = list(make_model(stream_usage=True).stream(HARM))
    whole = sum(chunks[1:], chunks[0])
    assert whole.content == "Not that."
    assert whole.response_metadata["finish_reason"] == "content_filter"
    assert whole.usage_metadata["total_tokens"] == 0
    assert guarded.upstream.calls == []


def test_a_blocked_prompt_may_be_an_exception(make_model: Any):
    """OpenAI's; the policy is named by a header."""
    with pytest.raises(openai.BadRequestError) as refused:
        make_model(default_headers={"X-Guard-Policy": "as-error"}).invoke(HARM)
    assert refused.value.code == "content_filter"
    with pytest.raises(openai.PermissionDeniedError):
        make_model(extra_body={"guard": {"policy": "as-mistral"}}).invoke(HARM)


def test_a_blocked_answer_ends_its_stream(make_model: Any, guarded: Any):
    """Nothing of it arrives; the refusal does."""
    guarded.upstream.script = lambda body: chunks_of(HARMFUL)
    chunks = list(make_model().stream("Hi"))
    whole = sum(chunks[1:], chunks[0])
    assert whole.content == "Not so."
    assert whole.response_metadata["finish_reason"] == "content_filter"
    guarded.upstream.script = lambda body: an_answer("".join(HARMFUL))
    assert make_model().invoke("Hi").content == "Not so."


def test_tools_are_called_and_their_results_read(make_model: Any, guarded: Any):
    """Whole, streamed, and the turn after: what the tool returned is checked too."""
    model = make_model().bind_tools([look])
    guarded.upstream.script = lambda body: (
        calling('{"for"', ': "x"}') if body.get("stream") else an_answer(None, tool_calls=[CALL])
    )
    asked = model.invoke("Hi")
    chunks = list(model.stream("Hi"))
    for answer in (asked, sum(chunks[1:], chunks[0])):
        (call,) = answer.tool_calls
        assert (call["id"], call["name"], call["args"]) == ("call-1", "look", {"for": "x"})
    assert guarded.upstream.calls[0]["tools"][0]["function"]["name"] == "look"
    guarded.upstream.script = lambda body: an_answer("Found.")
    turns = [HumanMessage("Hi"), asked]
    assert model.invoke([*turns, ToolMessage("A parcel.", tool_call_id="call-1")]).content == "Found."
    assert model.invoke([*turns, ToolMessage(HARM, tool_call_id="call-1")]).content == "Not that."


def test_errors_are_openais(make_model: Any, guarded: Any):
    """By status, and in the middle of a stream."""
    guarded.upstream.script = lambda body: SLOW_DOWN
    with pytest.raises(openai.RateLimitError, match="slow down"):
        make_model().invoke("Hi")
    guarded.upstream.script = lambda body: [a_chunk("Hello. "), None]
    with pytest.raises(openai.APIError, match="broke off"):
        list(make_model().stream("Hi"))


async def test_the_asynchronous_calls_read_the_same(make_model: Any):
    """Answers, streams, refusals."""
    model = make_model()
    assert (await model.ainvoke("Hi")).content == "Hello there."
    assert "".join([chunk.content async for chunk in model.astream("Hi")]) == "Hello there."
    assert (await model.ainvoke(HARM)).additional_kwargs["refusal"] == "Not that."

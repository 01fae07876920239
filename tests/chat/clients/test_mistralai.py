"""The `mistralai` package against a guarded chat: what its users change is `server_url`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import MistralError, ResponseValidationError, SDKError

from tests.chat.clients.scripts import CALL, HARM, HARMFUL, HI, SLOW_DOWN, TOOL, calling, told_with_usage
from tests.chat.doubles import a_chunk, an_answer, chunks_of

MISTRALS = {"X-Guard-Policy": "as-mistral"}


@pytest.fixture
def client(guarded: Any) -> Iterator[Mistral]:
    """The client as its users make it; its addresses have their `/v1` themselves."""
    with Mistral(api_key="mine", server_url=guarded.server.url) as made:
        yield made


def streamed(client: Mistral, messages: list[Any], **more: Any) -> list[Any]:
    """The chunks of a stream."""
    with client.chat.stream(model="m", messages=messages, **more) as events:
        return [event.data for event in events]


def text(chunks: list[Any]) -> str:
    """What they say in all."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_an_answer_is_read(client: Mistral, guarded: Any):
    """With its usage; the key goes where Guard's own says."""
    answer = client.chat.complete(model="m", messages=HI)
    assert answer.choices[0].message.content == "Hello there."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 3
    assert guarded.upstream.headers[0]["Authorization"] == "Bearer the-upstreams-key"


def test_a_stream_is_read(client: Mistral, guarded: Any):
    """With its usage in the last chunk, whether that has choices, as Mistral's own, or has none."""
    script = told_with_usage(["Hello ", "there."])
    guarded.upstream.script = lambda body: script
    chunks = streamed(client, HI)
    assert text(chunks) == "Hello there."
    assert chunks[-1].usage.total_tokens == 3
    guarded.upstream.script = lambda body: [*script[:-2], script[-2] | {"usage": script[-1]["usage"]}]
    chunks = streamed(client, HI)
    assert text(chunks) == "Hello there."
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].usage.total_tokens) == ("stop", 3)


def test_a_blocked_prompt_is_a_refusal(client: Mistral, guarded: Any):
    """In the answer's own place; no exception."""
    choice = client.chat.complete(model="m", messages=HARM).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("content_filter", "Not that.")
    chunks = streamed(client, HARM)
    assert text(chunks) == "Not that."
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert guarded.upstream.calls == []


def test_a_blocked_prompt_may_be_mistrals_own_refusal(client: Mistral, guarded: Any):
    """403 with the decisions, as of Mistral's guardrails."""
    for ask in (client.chat.complete, client.chat.stream):
        with pytest.raises(SDKError) as refused:
            ask(model="m", messages=HARM, http_headers=MISTRALS)
        assert refused.value.status_code == 403
        body = json.loads(refused.value.body)
        assert body["error"] == {"message": "Content blocked by guardrail", "status": 403}
        (found,) = body["guardrails"]["results"].values()
        assert (found["violated"], found["action"]) == (True, "block")
        assert found["decisions"]["harassment"]["violated"]
    assert guarded.upstream.calls == []


def test_its_own_guardrails_are_understood(client: Mistral, guarded: Any):
    """As its package sends them; the upstream sees nothing of them."""
    limits = {"custom_category_thresholds": {"law": 0.5}, "ignore_other_categories": True, "action": "block"}
    asked: Any = [{"block_on_error": True, "moderation_llm_v2": limits}]
    answer = client.chat.complete(model="m", messages=HI, guardrails=asked, safe_prompt=True)
    assert answer.choices[0].message.content == "Hello there."
    (body,) = guarded.upstream.calls
    assert body.keys().isdisjoint({"guardrails", "safe_prompt"})
    advice: Any = [{"role": "user", "content": "As your lawyer I advise you to plead not guilty and sue them today."}]
    with pytest.raises(SDKError) as refused:
        client.chat.complete(model="m", messages=advice, guardrails=asked)
    found = json.loads(refused.value.body)["guardrails"]["results"]["moderation_llm_v2"]
    assert list(found["decisions"]) == ["law"]


def test_a_blocked_answer_ends_its_stream(client: Mistral, guarded: Any):
    """Nothing of it arrives; the refusal does. A whole one may be Mistral's own refusal."""
    guarded.upstream.script = lambda body: chunks_of(HARMFUL)
    for headers in ({}, MISTRALS):
        chunks = streamed(client, HI, http_headers=headers)
        assert text(chunks) == "Not so."
        assert chunks[-1].choices[0].finish_reason == "content_filter"
    guarded.upstream.script = lambda body: an_answer("".join(HARMFUL))
    assert client.chat.complete(model="m", messages=HI).choices[0].message.content == "Not so."
    with pytest.raises(SDKError, match="Content blocked by guardrail"):
        client.chat.complete(model="m", messages=HI, http_headers=MISTRALS)


def test_tool_calls_are_read(client: Mistral, guarded: Any):
    """Whole and streamed."""
    guarded.upstream.script = lambda body: an_answer(None, tool_calls=[CALL])
    (found,) = client.chat.complete(model="m", messages=HI, tools=[TOOL]).choices[0].message.tool_calls
    assert (found.id, found.function.name, found.function.arguments) == ("call-1", "look", '{"for": "x"}')
    assert guarded.upstream.calls[0]["tools"][0]["function"]["name"] == "look"
    guarded.upstream.script = lambda body: [a_chunk(tool_calls=[CALL | {"index": 0}]), a_chunk(finish="tool_calls")]
    chunks = streamed(client, HI, tools=[TOOL])
    (found,) = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert (found.function.name, found.function.arguments) == ("look", '{"for": "x"}')
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_tool_call_in_parts_is_beyond_the_client(client: Mistral, guarded: Any):
    """It wants the name in every part and says so, with Guard before the upstream or without."""
    guarded.upstream.script = lambda body: calling('{"for"', ': "x"}')
    with Mistral(api_key="mine", server_url=guarded.upstream.url.removesuffix("/v1")) as direct:
        for asked in (client, direct):
            with pytest.raises(ResponseValidationError, match=r"tool_calls.*function\.name\s+Field required"):
                streamed(asked, HI, tools=[TOOL])


def test_errors_are_the_clients_own(client: Mistral, guarded: Any):
    """By status, and in the middle of a stream."""
    guarded.upstream.script = lambda body: SLOW_DOWN
    with pytest.raises(SDKError, match="slow down") as failed:
        client.chat.complete(model="m", messages=HI)
    assert failed.value.status_code == 429
    with pytest.raises(SDKError, match="slow down"):
        client.chat.stream(model="m", messages=HI)
    with pytest.raises(SDKError, match="policy_not_found"):
        client.chat.complete(model="m", messages=HI, http_headers={"X-Guard-Policy": "nope"})
    guarded.upstream.script = lambda body: [a_chunk("Hello. "), None]
    with client.chat.stream(model="m", messages=HI) as events:
        assert next(events).data.choices[0].delta.content == "Hello. "
        with pytest.raises(MistralError) as broken:
            next(events)
    assert json.loads(broken.value.body)["data"]["error"]["code"] == "upstream_closed"


async def test_the_asynchronous_calls_read_the_same(guarded: Any):
    """Answers, streams, refusals."""
    async with Mistral(api_key="mine", server_url=guarded.server.url) as client:
        answer = await client.chat.complete_async(model="m", messages=HI)
        assert answer.choices[0].message.content == "Hello there."
        async with await client.chat.stream_async(model="m", messages=HI) as events:
            assert text([event.data async for event in events]) == "Hello there."
        async with await client.chat.stream_async(model="m", messages=HARM) as events:
            assert [event.data async for event in events][-1].choices[0].finish_reason == "content_filter"
        with pytest.raises(SDKError) as refused:
            await client.chat.complete_async(model="m", messages=HARM, http_headers=MISTRALS)
        assert refused.value.status_code == 403

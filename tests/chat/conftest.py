"""A guarded chat in this process, with a screen and an upstream of the test's own."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from guard.chat.conversation import messages_of
from guard.chat.options import Options
from guard.chat.rails import GuardedChat, Refused
from guard.chat.upstream import Upstreams
from guard.judge import Judge
from guard.policy import Policy
from guard.testing import a_policy
from tests.chat.doubles import (
    ScriptedUpstream,
    UpstreamServer,
    WordScreen,
    a_moderator,
    an_answer,
    chunks_of,
    running_upstream,
)
from tests.conftest import ROOT, Server, serving

QUICK = {"hold_back_ms": 40, "hold_back_characters": 240}


@pytest.fixture
def screen() -> WordScreen:
    """Blocks texts with `grumpf`, is in doubt about `hmm`, redacts e-mail addresses."""
    return WordScreen()


@pytest.fixture
def make_chat_policy() -> Callable[..., Policy]:
    """A policy that blocks `hate` and redacts addresses; keywords are keys of `chat`."""

    def make(*, restore: bool = False, **chat: Any) -> Policy:
        return a_policy(
            ("hate", "pii"),
            patterns={"email": {"category": "pii", "action": "redact"}},
            redaction={"style": "placeholder", "restore": restore},
            chat={"streaming": QUICK, "refusals": {"input": "Not that.", "output": "Not so."}} | chat,
        )

    return make


@pytest.fixture
def streamed(screen: WordScreen, make_chat_policy: Callable[..., Policy]) -> Callable[..., Any]:
    """Sends one request through both rails; the chunks that leave (also `into` a list, where an error may follow)."""

    async def stream(
        script: Any,
        *,
        prompt: Any = "Hi",
        policy: Policy | None = None,
        options: Options = Options(),  # noqa: B008 (frozen)
        judge: Judge | None = None,
        into: list[Any] | None = None,
        **more: Any,
    ) -> Any:
        upstream = script if isinstance(script, ScriptedUpstream) else ScriptedUpstream(script)
        chat = GuardedChat(a_moderator(screen, judge), Upstreams([upstream], {}))
        messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        body = {"model": "m", "messages": messages, "stream": True} | more
        used = policy or make_chat_policy()
        begun = await chat.begin(body, messages_of(body), used, {}, options)
        if isinstance(begun, Refused):
            return begun
        chunks = into if into is not None else []
        async for leaving in chat.stream(begun, used, {}):
            chunks += leaving
        return chunks

    return stream


GRUMPF = """\
version: 1
name: {name}
description: Blocks one word.
extends: default
terms:
  one_word:
    category: harassment
    action: block
    words: [grumpf]
redaction:
  restore: true
chat:
  refusals: {{input: Not that., output: Not so.}}
"""


class Guarded(NamedTuple):
    """A `guard serve` and the upstream that it asks."""

    server: Server
    upstream: UpstreamServer


@pytest.fixture(scope="session")
def guarded_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One server for all tests of this folder, whose policies block `grumpf`; each is named for what it does else."""
    folder = tmp_path_factory.mktemp("chat") / "policies"
    shutil.copytree(ROOT / "policies", folder)
    keys = {
        "grumpf": "",
        "as-error": "  block_style: openai_error\n",
        "as-mistral": "  block_style: mistral\n",
        "refusing": "  uninspected: refuse\n",
        "early": "  speculative: true\n",
        "buffering": "  streaming: {mode: buffer}\n",
    }
    for name, key in keys.items():
        (folder / name).mkdir()
        (folder / name / "policy.yaml").write_text(GRUMPF.format(name=name) + key, encoding="utf-8")
    with (
        running_upstream() as upstream,
        serving(
            GUARD_POLICIES=str(folder),
            GUARD_DEFAULT_POLICY="grumpf",
            GUARD_UPSTREAM_URL=upstream.url,
            GUARD_UPSTREAM_KEY="the-upstreams-key",
            GUARD_UPSTREAM_TIMEOUT_SECONDS="1",
            GUARD_LOG_LEVEL="debug",
        ) as server,
    ):
        yield Guarded(server, upstream)


@pytest.fixture
def guarded(guarded_session: Guarded) -> Guarded:
    """That server, with an upstream that remembers nothing of other tests."""
    upstream = guarded_session.upstream
    for seen in (upstream.calls, upstream.headers, upstream.cancelled):
        seen.clear()
    upstream.sent = 0
    upstream.script = lambda body: chunks_of(["Hello ", "there."]) if body.get("stream") else an_answer("Hello there.")
    return guarded_session

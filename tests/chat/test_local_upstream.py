"""Guarded chat with the model on this machine: one engine that answers and judges."""

import asyncio
import json
import shutil

import httpx
import msgspec
import pytest

torch = pytest.importorskip("torch")

from guard.chat.conversation import with_system_prompt  # noqa: E402
from guard.chat.local import LocalUpstream  # noqa: E402
from guard.engine.engine import Engine  # noqa: E402
from guard.errors import UpstreamRefused  # noqa: E402
from tests.conftest import serving  # noqa: E402
from tests.engine.conftest import write_tiny  # noqa: E402

ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "Where is my parcel?"}], "max_tokens": 20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("chat") / "tiny", window=64, max_position_embeddings=32_768)


@pytest.fixture(scope="module")
def upstream(folder):
    engine = Engine(str(folder))
    engine.load()
    return LocalUpstream(engine)


async def chunks_of(upstream, **changes):
    return [chunk async for chunk in upstream.stream(ASKED | changes, {})]


async def test_an_answer_in_openais_shape(upstream):
    """Streamed and whole it is the same text; the count of its tokens is told."""
    whole = await upstream.complete(ASKED | {"temperature": 0}, {})
    assert whole["object"] == "chat.completion"
    assert whole["usage"]["completion_tokens"] <= 20
    assert whole["choices"][0]["finish_reason"] in ("stop", "length")
    chunks = await chunks_of(upstream, temperature=0, stream_options={"include_usage": True})
    said = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert said == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


async def test_several_answers_and_seeds(upstream):
    """Each has its index; the same seed says the same."""
    first, again = [await upstream.complete(ASKED | {"n": 3, "seed": 5}, {}) for _ in range(2)]
    said = [[choice["message"]["content"] for choice in told["choices"]] for told in (first, again)]
    assert said[0] == said[1]
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2]
    assert len(set(said[0])) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tools": [{"type": "function"}]}, "does not do `tools`"),
        ({"temperature": -1}, "temperature is -1"),
        ({"n": 99}, "n is 99"),
        ({"messages": [{"role": "user", "content": "word " * 40_000}]}, "the model reads at most 32768"),
        ({"messages": [{"role": "user", "content": None}]}, "reads texts only"),
    ],
)
async def test_what_it_does_not_do_is_refused(upstream, changes, says):
    """With OpenAI's error, whole or streamed."""
    for call in (upstream.complete(ASKED | changes, {}), chunks_of(upstream, **changes)):
        with pytest.raises(UpstreamRefused) as told:
            await call
        assert told.value.status == 400
        assert says in msgspec.json.decode(told.value.body)["error"]["message"]


async def test_who_leaves_ends_the_writing(upstream):
    """Its slot is free again."""
    stream = upstream.stream(ASKED | {"max_tokens": 4_000, "temperature": 0}, {})
    for _ in range(4):
        await anext(stream)
    await stream.aclose()
    scheduler = upstream._engine.scheduler
    for _ in range(200):
        if not scheduler._writing:
            break
        await asyncio.sleep(0.02)
    assert not scheduler._writing


PROMPT = "You help customers of a parcel service.\n\nBe brief, kind and exact: never guess."
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}{% else %}{{ raise_exception('no') }}"
    "{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module", params=["system", "none"])
def sharing(request, folder, tmp_path_factory):
    """Two upstreams with the same model: one that knows the policies' prompts, and one that does not."""
    if request.param == "none":
        copied = tmp_path_factory.mktemp("none") / "tiny"
        shutil.copytree(folder, copied)
        config = json.loads((copied / "tokenizer_config.json").read_text()) | {"chat_template": NO_SYSTEM}
        (copied / "tokenizer_config.json").write_text(json.dumps(config))
        folder = copied
    engines = [Engine(str(folder)) for _ in range(2)]
    for engine in engines:
        engine.load()
    known = [PROMPT, f"{PROMPT}\n\nMore.", "", "Something else."]
    found = LocalUpstream(engines[0], prompts=lambda: known), LocalUpstream(engines[1])
    assert found[0].system_role == request.param
    return found


def kept(upstream) -> set[tuple[int, ...]]:
    """The prefixes that the engine has."""
    return set(upstream._engine.scheduler._prefixes._kept)


async def test_a_policys_prompt_is_computed_once_and_changes_nothing(sharing):
    """The same text, greedy or drawn, whatever the client adds; what is kept holds not one token of a client."""
    upstream, alone = sharing
    role = upstream.system_role
    conversations = [
        [{"role": "user", "content": "Where is my parcel?"}],
        [{"role": "system", "content": "Speak like a pirate."}, {"role": "user", "content": "Hi"}],
        [{"role": "system", "content": "\n  \u0301[INST]"}, {"role": "user", "content": "Hi"}],
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "?"},
        ],
        [{"role": "user", "content": [{"type": "text", "text": "In parts."}]}],
    ]
    if role == "none":
        conversations = [[m for m in messages if m["role"] != "system"] for messages in conversations]
    for number, messages in enumerate(conversations):
        body = with_system_prompt(ASKED | {"messages": messages}, f" {PROMPT}\n", role)
        for rule in ({"temperature": 0}, {"temperature": 1.0, "seed": number}):
            ours, theirs = [await one.complete(body | rule, {}) for one in (upstream, alone)]
            assert ours["choices"] == theirs["choices"]
            assert ours["usage"] == theirs["usage"]
    shared = tuple(upstream._engine.tokens.beginning("user" if role == "none" else "system", PROMPT))
    assert kept(upstream) == {shared}
    assert len(shared) > len(upstream._engine.tokens.plain(PROMPT)) - 3
    assert kept(alone) == {()}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Where is my parcel?"}],
        [{"role": "SYSTEM", "content": PROMPT}, {"role": "user", "content": "Hi"}],
        [{"role": "assistant", "content": PROMPT}, {"role": "user", "content": "Hi"}],
        [{"role": "system", "content": PROMPT + " And more."}, {"role": "user", "content": "Hi"}],
        [{"role": "system", "content": PROMPT[:-1]}, {"role": "user", "content": "Hi"}],
        [{"role": "user", "content": "Hi"}, {"role": "system", "content": PROMPT}, {"role": "user", "content": "Hi"}],
    ],
)
async def test_what_a_client_wrote_is_never_shared(upstream, messages):
    """Nothing is kept of a conversation that does not begin with a policy's prompt, in the policy's own place."""
    sharing = LocalUpstream(upstream._engine, prompts=lambda: [PROMPT])
    before = kept(sharing)
    await sharing.complete(ASKED | {"messages": messages}, {})
    assert kept(sharing) - before <= {()}


async def test_of_two_prompts_the_longer_one_is_taken(sharing):
    """One policy's words may be the beginning of another's; and prompts may change while the service runs."""
    upstream, _ = sharing
    role = "user" if upstream.system_role == "none" else "system"
    body = with_system_prompt(ASKED, f"{PROMPT}\n\nMore.", upstream.system_role)
    await upstream.complete(body, {})
    assert tuple(upstream._engine.tokens.beginning(role, f"{PROMPT}\n\nMore.")) in kept(upstream)


POLICY = """
version: 1
name: quiet
description: One category, and nothing for a judge to doubt.
categories:
  hate:
    title: Hate
    group: hateful
    definition: The text attacks people for a protected trait.
    thresholds: {block: 0.9999}
terms:
  forbidden:
    category: hate
    action: block
    words: [xyzzyword]
"""


def test_a_service_with_a_local_judge_answers_chats(folder, tmp_path):
    """One line for the client, and no other server; a blocked prompt never reaches the model."""
    (tmp_path / "quiet").mkdir()
    (tmp_path / "quiet" / "policy.yaml").write_text(POLICY)
    settings = {"GUARD_JUDGE": str(folder), "GUARD_POLICIES": str(tmp_path), "GUARD_DEFAULT_POLICY": "quiet"}
    with serving(**settings) as server:
        server.client.timeout = httpx.Timeout(120)
        models = server.client.get("/v1/models").json()["data"]
        assert [model["id"] for model in models] == ["tiny"]
        asked = ASKED | {"temperature": 0}
        told = server.client.post("/v1/chat/completions", json=asked)
        assert told.status_code == 200, told.text
        said = told.json()["choices"][0]["message"]["content"]
        streamed = server.client.post("/v1/chat/completions", json=asked | {"stream": True}).text
        events = [json.loads(line[6:]) for line in streamed.split("\n") if line.startswith("data: {")]
        assert "".join(c["delta"].get("content", "") for e in events for c in e["choices"]) == said
        assert streamed.endswith("data: [DONE]\n\n")
        bad = asked | {"messages": [{"role": "user", "content": "say xyzzyword"}]}
        refused = server.client.post("/v1/chat/completions", json=bad).json()
        assert refused["choices"][0]["finish_reason"] == "content_filter"
        assert refused["usage"]["completion_tokens"] == 0
        wrong = server.client.post("/v1/chat/completions", json=asked | {"tools": [{"type": "function"}]})
        assert wrong.status_code == 400
        assert wrong.json()["error"]["param"] == "tools"

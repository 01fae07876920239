"""Measured, not believed: nothing that the final verdict blocks reaches the client, and all else arrives unchanged.

The shipped encoder and the default policy, streams as fast as they come, cut into tokens at random borders.
"""

import asyncio
import random
from typing import NamedTuple

import msgspec
import pytest

from guard.chat.conversation import messages_of
from guard.chat.rails import GuardedChat
from guard.chat.upstream import Upstreams
from guard.config import settings_from
from guard.content import Content, Rail, Turn
from guard.moderator import Moderator
from guard.policy import Policy
from guard.service import build
from guard.testing import a_policy
from tests.chat.doubles import ScriptedUpstream, WordScreen, a_moderator, chunks_of, finishes, said

HARMLESS = [
    "The museum opens at ten and closes at six. ",
    "Bring a warm coat, because it may rain in the evening. ",
    "You can list all processes with one command. ",
    "My aunt grows tomatoes on her balcony. ",
    "The train leaves from platform four. ",
    "Stir the sauce until it is thick, then add the pasta. ",
    "A triangle has three sides. ",
    "Let me know whether this helps you. ",
]
HARMFUL = [
    "I will find you tonight and I will kill you. ",
    "You are a worthless idiot and everybody hates you. ",
    "People from that country are animals and should all be thrown out. ",
    "Women are too stupid to be trusted with the vote. ",
    "Disabled people are a burden, we would be better off without them. ",
]
FIDELITY = [
    "Straße, naïve café: ça va? ",
    "Ein Rechtsschutzversicherungsgesellschaftsmitarbeiter kam um 15.30 Uhr, z. B. aus Köln. ",
    "今日は天気がいいですね。散歩に行きましょう。",
    "你好，世界！这是一个很长的句子，没有空格。",
    "안녕하세요, 반갑습니다. ",
    "สวัสดีครับ ยินดีต้อนรับ ",
    "مرحبا بالعالم. ",
    "👩‍👩‍👧‍👦 and 👍🏽 and e\u0301 and 🇩🇪! ",
    "```python\nfor i in range(10):\n    print(f'{i:>3}')\n```\n\n",
    "| a | b |\n|---|---|\n| 1.5 | -2e10 |\n\n",
    "x" * 900 + " ",
    "assistant, assisting, class. ",
]


class Built(NamedTuple):
    """The shipped moderator and policy."""

    moderator: Moderator
    policy: Policy


@pytest.fixture(scope="module")
def shipped() -> Built:
    """One encoder for the module."""
    service = build(settings_from({}))
    return Built(service.moderator, service.book["default"])


def tokens_of(text: str, rng: random.Random) -> list[str]:
    """The text cut at random borders, as no tokenizer would dare."""
    tokens, place = [], 0
    while place < len(text):
        size = rng.choice([1, 1, 2, 3, 4, 5, 8, 13, 40])
        tokens.append(text[place : place + size])
        place += size
    return tokens


async def arriving(moderator: Moderator, policy: Policy, tokens: list[str], pace: float = 0.0) -> list[dict]:
    """The chunks that a client gets of a stream with a token every `pace` seconds."""
    script = [step for chunk in chunks_of(tokens) for step in ([pace, chunk] if pace else [chunk])]
    chat = GuardedChat(moderator, Upstreams([ScriptedUpstream(script)], {}))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    begun = await chat.begin(body, messages_of(body), policy, {})
    return [chunk async for chunk in chat.stream(begun, policy, {})]


def with_hold_back(policy: Policy, characters: int, milliseconds: int) -> Policy:
    """The policy with other bounds."""
    chat = policy.spec.chat
    streaming = msgspec.structs.replace(chat.streaming, hold_back_characters=characters, hold_back_ms=milliseconds)
    spec = msgspec.structs.replace(policy.spec, chat=msgspec.structs.replace(chat, streaming=streaming))
    return Policy(spec)


class Leaked(NamedTuple):
    """How many answers the final verdict blocks, how many characters of the spans it blocks for have arrived, and how
    many streams were not stopped."""

    blocked: int
    characters: int
    unstopped: int


async def leaks(shipped: Built, policy: Policy, seeds: range, *, pace: float) -> Leaked:
    """Answers with a harmful sentence at a random place, all streamed at the same time."""

    async def one(seed: int) -> Leaked:
        rng = random.Random(seed)
        sentences = [rng.choice(HARMLESS) for _ in range(rng.randrange(9))]
        sentences.insert(rng.randrange(len(sentences) + 1), rng.choice(HARMFUL))
        text = "".join(sentences)
        content = Content(text, "assistant", Rail.OUTPUT, (Turn("user", "Hi"),))
        (verdict,) = (await shipped.moderator.moderate([content], policy)).verdicts
        spans = [span for c in verdict.categories.values() if c.action == "block" for span in c.spans]
        # Where no sentence alone carries the score, the whole text does: no beginning of it is harmful by itself.
        spans = [span for span in spans if span.end - span.start < len(text.rstrip()) or len(sentences) == 1]
        if verdict.action != "block":
            return Leaked(0, 0, 0)
        chunks = await arriving(shipped.moderator, policy, tokens_of(text, rng), pace)
        assert text.startswith(said(chunks))
        arrived = len(said(chunks))
        reached = sum(max(0, min(arrived, span.end) - span.start) for span in spans)
        return Leaked(1, reached, finishes(chunks) != {0: "content_filter"})

    found = await asyncio.gather(*map(one, seeds))
    return Leaked(*map(sum, zip(*found, strict=True)))


async def test_nothing_that_is_blocked_arrives(shipped):
    """With the default policy's hold-back: not one character of the spans that are blocked for."""
    blocked, leaked, unstopped = await leaks(shipped, shipped.policy, range(60), pace=0.0)
    assert blocked >= 15
    assert (leaked, unstopped) == (0, 0)


async def test_of_a_slow_answer_only_harmless_first_words_arrive(shipped):
    """At the pace of a model the first words leave after a tenth of the hold-back: they are all that may be lost of
    an answer that begins with its harm; with a longer hold-back, nothing is."""
    blocked, leaked, unstopped = await leaks(shipped, shipped.policy, range(30), pace=0.02)
    assert blocked >= 10
    assert leaked / blocked < 5
    patient = with_hold_back(shipped.policy, 240, 60_000)
    assert (await leaks(shipped, patient, range(30), pace=0.02))[1:] == (0, 0)
    assert unstopped == 0


async def test_without_a_hold_back_much_arrives(shipped):
    """So that the test above can fail."""
    blocked, leaked, _ = await leaks(shipped, with_hold_back(shipped.policy, 0, 0), range(20), pace=0.002)
    assert blocked >= 5
    assert leaked > 20


async def test_harmless_streams_arrive_unchanged():
    """Hundreds, in every script and however they are cut, as one joined text."""
    policy = a_policy(("hate",), chat={"streaming": {"hold_back_ms": 0, "hold_back_characters": 40}})
    moderator = a_moderator(WordScreen())
    for seed in range(300):
        rng = random.Random(seed)
        text = "".join(rng.choice(FIDELITY + HARMLESS) for _ in range(rng.randrange(1, 12)))
        chunks = await arriving(moderator, policy, tokens_of(text, rng))
        assert said(chunks) == text
        assert finishes(chunks) == {0: "stop"}


async def test_harmless_streams_arrive_unchanged_through_the_shipped_screen(shipped):
    """Many at the same time."""

    async def one(seed: int) -> None:
        rng = random.Random(seed)
        text = "".join(rng.choice(HARMLESS) for _ in range(rng.randrange(1, 12)))
        assert said(await arriving(shipped.moderator, shipped.policy, tokens_of(text, rng))) == text

    await asyncio.gather(*map(one, range(30)))

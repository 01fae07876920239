"""What the soak asks, from seeds: texts, arrays, conversations, chats, decisions, mistakes; and clients that leave."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from benchmarks.asking import chat, prompt
from benchmarks.leaks import FIDELITY, HARMFUL
from benchmarks.soaking.doubles import LETTER, unsure
from benchmarks.upstream import HARMLESS, things

__all__ = ["CHAT", "DECISIONS", "KINDS", "MODERATE", "TENANTS", "Ask", "Manner", "Script"]

MODERATE, CHAT, DECISIONS = "/moderate", "/v1/chat/completions", "/v1/decisions"
Manner = Literal["plain", "stream", "leaves", "dribbles", "reads_slowly"]
PACE = 40
"""Tokens a second of those streams that have a pace."""
KINDS: Mapping[str, int] = {
    "known": 20,
    "new": 20,
    "doubtful": 10,
    "array": 6,
    "conversation": 8,
    "output": 4,
    "long": 2,
    "chat": 8,
    "stream": 6,
    "stream_through": 2,
    "letter": 5,
    "decision": 3,
    "mistake": 4,
    "leaving": 2,
}
"""Of a hundred requests so many are of each kind."""
TENANTS: Mapping[str, tuple[str, ...]] = {
    "shop": ("default", "support-bot", "through", "held"),
    "forum": ("forum", "default", "through", "held"),
    "forum-2": ("forum", "default"),
    "school": ("strict", "children"),
    "leaving": ("default",),
}
"""The keys of ordinary traffic and what each asks for; the first is its default."""
_PRIVATE = ("Write to jane.doe@example.com, she knows. ", "My number is +49 30 901820, call after six. ")
_UNSURE = unsure(HARMFUL)
_JSON = msgspec.json.Encoder()


class Ask(msgspec.Struct, frozen=True):
    """A request, and the status that it has when nothing is wrong."""

    number: int
    kind: str
    key: str
    path: str
    body: bytes
    manner: Manner = "plain"
    status: int = 200
    policy: str = ""


class Script:
    """The requests of one soak: each hangs on the seed and its number alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def ask(self, number: int) -> Ask:
        """The request with this number, below a million."""
        rng = random.Random(f"{self._seed}:{number}")
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        return self.of(kind, number, rng)

    def of(self, kind: str, number: int, rng: random.Random | None = None) -> Ask:
        """The request of a kind with this number."""
        rng = rng or random.Random(f"{self._seed}:{kind}:{number}")
        match kind:
            case "chat" | "stream" | "stream_through" | "letter":
                return self._chat(kind, number, rng)
            case "decision":
                body = {"input": self._text(rng, number), "questions": QUESTIONS}
                return Ask(number, kind, rng.choice(["shop", "forum"]), DECISIONS, _JSON.encode(body))
            case "mistake":
                return _mistake(number, rng)
            case "leaving":
                return self._leaving(number, rng)
            case "flood":
                return Ask(number, kind, "loud", MODERATE, _JSON.encode({"input": prompt(number, 12)}))
            case "revoked":
                return Ask(number, kind, "leaving", MODERATE, _JSON.encode({"input": prompt(number, 12)}))
            case "dribbling":
                body = {"input": self._text(rng, number)}
                return Ask(number, kind, "shop", MODERATE, _JSON.encode(body), "dribbles")
            case "slow_stream":
                asked = chat(prompt(number), tokens=60, pace=PACE, stream=True)
                return Ask(number, kind, "shop", CHAT, _JSON.encode(asked), "stream", policy="default")
            case "slow_reader":
                asked = chat(prompt(number), tokens=400, stream=True)
                return Ask(number, kind, "shop", CHAT, _JSON.encode(asked), "reads_slowly", policy="default")
            case _:
                return self._moderate(kind, number, rng)

    def _moderate(self, kind: str, number: int, rng: random.Random) -> Ask:
        key = rng.choices(list(TENANTS), [30, 30, 15, 20, 5])[0]
        body: dict[str, Any] = {"input": self._input(kind, number, rng)}
        if rng.random() < 0.7:
            body["policy"] = rng.choice(TENANTS[key])
        if kind == "output" or (kind == "array" and rng.random() < 0.3):
            body["rail"] = "output"
        if rng.random() < 0.1:
            body["categories"] = ["hate", "harassment", "violence", "pii"]
        if rng.random() < 0.1:
            body["explain"] = True
        return Ask(number, kind, key, MODERATE, _JSON.encode(body))

    def _input(self, kind: str, number: int, rng: random.Random) -> Any:
        match kind:
            case "known" | "output":
                return self._text(random.Random(f"{self._seed}:known:{rng.randrange(60)}"), None)
            case "doubtful":
                return f"{rng.choice(_UNSURE)}{_words(number)}."
            case "array":
                return [self._text(rng, number if rng.random() < 0.5 else None) for _ in range(rng.randrange(2, 12))]
            case "conversation":
                turns = [
                    {"role": "assistant" if turn % 2 else "user", "content": self._text(rng, None)}
                    for turn in range(rng.randrange(1, 5))
                ]
                role = rng.choice(["user", "assistant"])
                return [*turns, {"role": role, "content": self._text(rng, number)}]
            case "long":
                return "".join(self._text(rng, number) for _ in range(rng.randrange(20, 80)))
            case _:
                return self._text(rng, number)

    def _text(self, rng: random.Random, number: int | None) -> str:
        """A few sentences, one in five with something to find; with a number a text that nobody has sent before."""
        sentences = [rng.choice(HARMLESS) for _ in range(rng.randrange(1, 4))]
        kind = rng.random()
        if kind < 0.2:
            sentences.insert(rng.randrange(len(sentences) + 1), rng.choice([*HARMFUL, *_UNSURE, *_PRIVATE]))
        elif kind < 0.25:
            sentences.append(rng.choice(FIDELITY))
        if number is not None:
            sentences.append(f"{_words(number)}. ")
        return "".join(sentences)

    def _chat(self, kind: str, number: int, rng: random.Random) -> Ask:
        key = rng.choice(["shop", "forum"])
        policy = {"stream_through": "through", "letter": rng.choice(["held", "held", "default", "through"])}.get(
            kind, ""
        )
        if not policy:
            key = rng.choice(["shop", "shop", "forum", "school"])
            policy = rng.choice([name for name in TENANTS[key] if name != "through"])
        text = f"{LETTER}{_words(number)}." if kind == "letter" else prompt(number)
        if kind != "letter" and rng.random() < 0.15:
            text = f"{rng.choice([*HARMFUL, *_PRIVATE])}{text}"
        stream = kind != "chat"
        paced = PACE if rng.random() < 0.5 else 0
        asked = chat(text, tokens=rng.choice([20, 40, 60]), pace=paced, stream=stream)
        if rng.random() < 0.3:
            before = [{"role": "user", "content": rng.choice(HARMLESS)}, {"role": "assistant", "content": "Yes. "}]
            asked["messages"] = [*before, *asked["messages"]]
        return Ask(number, kind, key, CHAT, _JSON.encode(asked), "stream" if stream else "plain", policy=policy)

    def _leaving(self, number: int, rng: random.Random) -> Ask:
        if rng.random() < 0.5:
            asked = chat(prompt(number), tokens=60, pace=PACE, stream=True)
            return Ask(number, "leaving", "shop", CHAT, _JSON.encode(asked), "leaves", policy="default")
        text = "".join(self._text(rng, number) for _ in range(60))
        return Ask(number, "leaving", "forum", MODERATE, _JSON.encode({"input": text}), "leaves")


QUESTIONS: Sequence[dict[str, Any]] = (
    {"type": "predicate", "instructions": "The text speaks of food."},
    {
        "type": "choice",
        "instructions": "What is it about?",
        "choices": [{"value": "travel"}, {"value": "food", "description": "eating and drinking"}, {"value": "other"}],
    },
)
"""What every request for decisions wants to know."""


def _words(number: int) -> str:
    return " and ".join(things(number))


def _mistake(number: int, rng: random.Random) -> Ask:
    """A request that has to be refused, each mistake with its own status."""
    body, status, key, path = rng.choice(_MISTAKES)
    return Ask(number, "mistake", key, path, body, status=status)


_MISTAKES: tuple[tuple[bytes, int, str, str], ...] = (
    (b'{"input": "Hel', 400, "shop", MODERATE),
    (b'{"input": []}', 422, "shop", MODERATE),
    (b'{"input": "Hello.", "polcy": "strict"}', 422, "shop", MODERATE),
    (b'{"input": "Hello.", "policy": "nobodys"}', 404, "all", MODERATE),
    (b'{"input": "Hello.", "policy": "strict"}', 403, "shop", MODERATE),
    (b'{"input": "Hello."}', 401, "", MODERATE),
    (_JSON.encode({"input": "a " * 110_000}), 422, "forum", MODERATE),
    (b'{"input": "' + b"a" * 1_100_000 + b'"}', 413, "forum", MODERATE),
    (b'{"input": "Hello."}', 404, "forum", "/moderat"),
    (b'{"model": "scripted-20-0", "messages": "Hi"}', 400, "shop", CHAT),
    (b'{"input": "Hello.", "questions": []}', 400, "shop", DECISIONS),
)

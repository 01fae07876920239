"""The judge's server and the chat's upstream, on the soak's own event loop, each with a switch for what is wrong.

What they answer hangs on the prompt alone, so that every verdict can be computed again without them.
"""

import asyncio
import hashlib
import math
import random
import re
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import httptools
import msgspec

from benchmarks.leaks import HARMFUL
from benchmarks.upstream import HARMLESS, ScriptedServer, tokens_of

__all__ = [
    "LETTER",
    "UNSURE",
    "Judge",
    "JudgeMode",
    "Listening",
    "Upstream",
    "UpstreamMode",
    "answer_tokens",
    "harmful_place",
    "unsure",
    "weights",
]

JudgeMode = Literal["well", "hesitates", "slow", "rubbish", "failing"]
UpstreamMode = Literal["well", "breaking", "silent"]

HESITATES_SECONDS = 0.3
SLOW_SECONDS = 30.0
"""Longer than any client waits."""
UNSURE = "perhaps "
"""A text with this word gets any probability from the judge, so that every action comes about."""
LETTER = "Please read me the letter about the "
"""A prompt that begins so is answered with a harmful sentence in the middle."""
_SURE = tuple(sentence.strip(" .").lower() for sentence in HARMFUL)
_TOKENS = (" Yes", " No", *[f" {letter}" for letter in "ABCDEFGHIJKLMNOPQR"])
"""As many as a server tells at most."""
_WORD = re.compile(r"\s?[^\s]+|\s")
_TEXT = re.compile(r".*\n<text>\n(.*)\n</text>", re.DOTALL)
_JSON = msgspec.json.Encoder()


def weights(prompt: str) -> dict[str, float]:
    """The probability of each token that the judge may say next. Yes and No share nine tenths."""
    found = _TEXT.match(prompt)
    text = found[1].lower() if found is not None else ""
    chance = _number(prompt)
    if UNSURE in text:
        yes = 0.001 + 0.998 * chance
    elif any(sentence in text for sentence in _SURE):
        yes = 0.95 + 0.049 * chance
    else:
        yes = 0.001 + 0.049 * chance
    letters = [0.01 + _number(prompt + token) for token in _TOKENS[2:]]
    share = 0.1 / math.fsum(letters)
    return {" Yes": 0.9 * yes, " No": 0.9 * (1 - yes)} | dict(
        zip(_TOKENS[2:], [share * letter for letter in letters], strict=True)
    )


def _number(text: str) -> float:
    """A number from 0 to 1 that nobody can tell from a text without this function."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()) / 2**48


def answer_tokens(prompt: str, count: int) -> list[str]:
    """What the upstream says to a prompt: about `count` tokens."""
    if not prompt.startswith(LETTER):
        return tokens_of(prompt, count)
    return [part for sentence in _letter(prompt) for part in re.findall(r"\S+\s*", sentence)]


def harmful_place(prompt: str) -> tuple[int, str]:
    """Where the harmful sentence begins in the answer to a prompt that asks for a letter, and the sentence."""
    sentences = _letter(prompt)
    number = next(n for n, sentence in enumerate(sentences) if sentence in HARMFUL)
    return sum(map(len, sentences[:number])), sentences[number].strip()


@lru_cache(1_024)
def _letter(prompt: str) -> tuple[str, ...]:
    rng = random.Random(zlib.crc32(prompt.encode()))
    before, after = rng.sample(HARMLESS, 3), rng.sample(HARMLESS, 2)
    return (*before, rng.choice(HARMFUL), *after)


class Listening:
    """A server on this event loop that can be gone for a while: nobody listens, and who was connected is cut off."""

    def __init__(self, make: Callable[[], asyncio.Protocol], port: int) -> None:
        self.port = port
        self.connections: set[asyncio.Transport] = set()
        self._make = make
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listens."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, "127.0.0.1", self.port, backlog=256)

    async def close(self) -> None:
        """Listens no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in list(self.connections):
            transport.abort()


class Judge(Listening):
    """A server in vLLM's shapes: `/tokenize`, and `/v1/completions` with the labels' own probabilities."""

    def __init__(self, port: int) -> None:
        super().__init__(lambda: _JudgeConnection(self), port)
        self.mode: JudgeMode = "well"
        self.calls = 0
        self._ids: dict[str, int] = {}

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of an answer."""
        self.calls += 1
        if path == "/tokenize":
            return 200, {
                "tokens": [self._ids.setdefault(word, len(self._ids)) for word in _WORD.findall(body["prompt"])]
            }
        if path != "/v1/completions":
            return 404, {}
        choices = [
            {"index": number, "logprobs": {"top_logprobs": [self._told(prompt, body)]}}
            for number, prompt in enumerate(body["prompt"])
        ]
        return 200, {"choices": choices, "usage": {"prompt_tokens": sum(map(len, body["prompt"])) // 4}}

    def _told(self, prompt: str, body: dict[str, Any]) -> dict[str, float]:
        known = {token: math.log(weight) for token, weight in weights(prompt).items()}
        if "logprob_token_ids" not in body:
            return known
        words = {number: word for word, number in self._ids.items()}
        return {f"token_id:{number}": known[words[number]] for number in body["logprob_token_ids"]}


class _JudgeConnection(asyncio.Protocol):
    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._parser = httptools.HttpRequestParser(self)
        self._path = ""
        self._body = bytearray()
        self._later: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._judge.connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._judge.connections.discard(self._transport)
        if self._later is not None:
            self._later.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = bytes(self._body), bytearray()
        seconds = {"hesitates": HESITATES_SECONDS, "slow": SLOW_SECONDS}.get(self._judge.mode, 0.0)
        self._later = asyncio.get_running_loop().call_later(seconds, self._say, body)

    def _say(self, body: bytes) -> None:
        match self._judge.mode:
            case "rubbish":
                status, said = 200, b"<html>It works!</html>"
            case "failing":
                status, said = 500, b'{"error": "out of memory"}'
            case _:
                status, found = self._judge.answer(self._path, msgspec.json.decode(body))
                said = _JSON.encode(found)
        head = b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, len(said)) + said)


class Upstream(Listening):
    """The scripted upstream of the other benchmarks, which may break off in the middle, or fall silent there."""

    def __init__(self, port: int) -> None:
        super().__init__(lambda: _UpstreamConnection(self), port)
        self.mode: UpstreamMode = "well"


class _UpstreamConnection(ScriptedServer):
    def __init__(self, upstream: Upstream) -> None:
        super().__init__()
        self._upstream = upstream

    def tokens(self, prompt: str, count: int) -> list[str]:
        return answer_tokens(prompt, count)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._upstream.connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._upstream.connections.discard(self._transport)

    def _send(self, status: bytes, body: bytes) -> None:
        match self._upstream.mode:
            case "well":
                super()._send(status, body)
            case "breaking":
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
                self._transport.write(b"%d\r\n\r\n%b" % (len(body), body[: len(body) // 2]))
                self._transport.close()

    def _go_on(self) -> None:
        # A beginning is told in any case.
        if self._upstream.mode != "well" and self._told > 4:
            if self._upstream.mode == "breaking":
                self._transport.close()
            return
        super()._go_on()


def unsure(sentences: Sequence[str]) -> list[str]:
    """The sentences, such that the judge is of any opinion about them."""
    return [f"{UNSURE.capitalize()}{sentence[0].lower()}{sentence[1:]}" for sentence in sentences]

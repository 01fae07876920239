"""Upstreams that say what a test tells them to: in this process, and over a real socket."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from guard.cache.memory import MemoryCache
from guard.judge import Judge
from guard.moderator import Moderator
from guard.policy import Policy
from guard.screen import Material
from guard.telemetry import Listeners
from guard.verdict import Assessment, Hit, Score
from tests.doubles import serving_app

EMAIL = re.compile(r"[\w.]+@[\w.]+\.\w+")


class WordScreen:
    """Finds `harm` (score 0.99 of `hate`), `doubt` (0.5) and e-mail addresses; remembers what it read.

    `faults` are raised by the next calls, one each; None is none.
    """

    def __init__(self, *, harm: str = "grumpf", doubt: str = "hmm") -> None:
        self.name = "words"
        self.fingerprint = "words-1"
        self.texts: list[str] = []
        self.delay = 0.0
        self.faults: list[Exception | None] = []
        self._harm, self._doubt = harm, doubt

    def prepare(self, policy: Policy) -> None:
        """Nothing to compile."""

    async def assess(
        self, materials: Sequence[Material], policy: Policy, *, deadline: float | None = None
    ) -> list[Assessment]:
        """See `Screen.assess`."""
        await asyncio.sleep(self.delay)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        self.texts += [material.normalised.text for material in materials]
        return [self._one(material.normalised.text) for material in materials]

    def find(self, text: str) -> tuple[Hit, ...]:
        """The addresses."""
        return tuple([Hit("patterns", "email", *found.span()) for found in EMAIL.finditer(text)])

    def _one(self, text: str) -> Assessment:
        score = 0.99 if self._harm in text else 0.5 if self._doubt in text else 0.01
        return Assessment({"hate": Score(score, "encoder"), "pii": Score(0.0, "encoder")}, self.find(text))


def a_moderator(screen: Any, judge: Judge | None = None) -> Moderator:
    """A moderator of a screen, and of a judge where one is given."""
    return Moderator(
        screen=screen, judge=judge, cache=MemoryCache(entries=100, ttl=60), secret=b"s" * 32, listener=Listeners()
    )


def a_chunk(text: str | None = None, *, index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """One chunk with one choice, as OpenAI's server writes it."""
    said = delta | ({"content": text} if text is not None else {})
    choice = {"index": index, "delta": said, "logprobs": None, "finish_reason": finish}
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return common | {"choices": [choice]}


def chunks_of(tokens: Sequence[str], *, finish: str = "stop") -> list[dict[str, Any]]:
    """A stream as OpenAI's server sends it: the role, the tokens, the end."""
    return [a_chunk("", role="assistant"), *[a_chunk(token) for token in tokens], a_chunk(finish=finish)]


def an_answer(text: str | None, **message: Any) -> dict[str, Any]:
    """A whole answer."""
    said = {"role": "assistant", "content": text} | message
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    common = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    return common | {"choices": [choice], "usage": usage}


def said(chunks: Sequence[Mapping[str, Any]], *, index: int = 0, field: str = "content") -> str:
    """What a choice of a stream says in all, its refusal left out."""
    return "".join(
        choice["delta"].get(field) or ""
        for chunk in chunks
        for choice in chunk.get("choices", ())
        if choice["index"] == index and choice["finish_reason"] != "content_filter"
    )


def finishes(chunks: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """How each choice of a stream ends."""
    found = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return {choice["index"]: choice["finish_reason"] for choice in found if choice["finish_reason"] is not None}


class ScriptedUpstream:
    """Says `script`: chunks; numbers are pauses in seconds, errors are raised. Remembers what it was asked."""

    def __init__(
        self, script: Sequence[Any] = (), *, whole: dict[str, Any] | None = None, role: Any = "system"
    ) -> None:
        self.name = "scripted"
        self.system_role = role
        self.script = script
        self.whole = whole
        self.bodies: list[dict[str, Any]] = []
        self.told = 0
        self.closed = 0

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """See `Upstream`."""
        self.bodies.append(json.loads(json.dumps(body)))
        for step in self.script:
            await asyncio.sleep(step)
        assert self.whole is not None
        return json.loads(json.dumps(self.whole))

    async def stream(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[dict[str, Any]]:
        """See `Upstream`."""
        self.bodies.append(json.loads(json.dumps(body)))
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                    continue
                self.told += 1
                yield step
        finally:
            self.closed += 1

    async def models(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """See `Upstream`."""
        return [{"id": "m", "object": "model"}]

    async def close(self) -> None:
        """Nothing to give back."""


@dataclass
class UpstreamServer:
    """An OpenAI-compatible server on a real socket.

    `script` is called with each request's body: a dict is a whole answer; a list is a stream of chunks, bytes as they
    are, numbers (seconds to wait), and None (the connection is cut); a tuple is a status, a body and headers.
    """

    url: str = ""
    script: Callable[[dict[str, Any]], Any] = lambda body: an_answer("Hello.")
    calls: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    cancelled: list[float] = field(default_factory=list)
    sent: int = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text())
        self.calls.append(body)
        self.headers.append(dict(request.headers))
        told = self.script(body)
        try:
            match told:
                case tuple():
                    status, content, headers = told
                    return web.Response(status=status, body=content, headers=headers)
                case dict():
                    return web.json_response(told)
                case _:
                    return await self._stream(request, told)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled.append(time.monotonic())
            raise

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model", "created": 1}]})

    async def _stream(self, request: web.Request, script: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for step in script:
            if step is None:
                assert request.transport is not None
                request.transport.abort()
                return response
            if isinstance(step, float):
                await asyncio.sleep(step)
                continue
            event = step if isinstance(step, bytes) else b"data: " + json.dumps(step).encode() + b"\n\n"
            await response.write(event)
            self.sent += len(event)
        if not (script and isinstance(script[-1], bytes)):
            await response.write(b"data: [DONE]\n\n")
        return response


@contextmanager
def running_upstream() -> Iterator[UpstreamServer]:
    """A running server, with a thread and an event loop of its own."""
    server = UpstreamServer()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/v1/models", server.models)
    with serving_app(app) as server.url:
        yield server

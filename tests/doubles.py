"""A server in the shapes of vLLM's, over a real socket: a small made-up model whose probabilities are known."""

import asyncio
import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

WORD = re.compile(r"\s?[^\s]+|\s")
VOCABULARY = [" Yes", " No", *[f" {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"], " yes", " no", " the", " a"]
VOCABULARY += [f" word{number}" for number in range(60)]


def told_by_hash(prompt: str) -> dict[str, float]:
    """Every token's log-probability after `prompt`: a soft maximum over numbers that hang on the prompt alone."""
    raw = {
        token: int.from_bytes(hashlib.blake2b((prompt + token).encode(), digest_size=4).digest()) / 2**30
        for token in VOCABULARY
    }
    total = math.log(math.fsum(math.exp(value) for value in raw.values()))
    return {token: value - total for token, value in raw.items()}


@dataclass
class JudgeServer:
    """What a test may change, and what it may look at.

    `model` gives the log-probabilities after a prompt. `ids`: whether the server tells tokens and takes
    `logprob_token_ids`; "ignored": it tells them and does not. `faults` are statuses for the next calls (0: the
    connection is cut), `delay` seconds before every answer.
    """

    url: str = ""
    model: Callable[[str], dict[str, float]] = told_by_hash
    ids: bool | str = True
    faults: list[int] = field(default_factory=list)
    retry_after: str = ""
    delay: float = 0.0
    calls: list[tuple[str, dict]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    cancelled: int = 0
    connections: set[object] = field(default_factory=set)
    known: dict[str, int] = field(default_factory=lambda: {token: n for n, token in enumerate(VOCABULARY)})

    def asked(self, path: str) -> list[dict]:
        """The bodies of the calls of a route."""
        return [body for found, body in self.calls if found == path]

    def tokens(self, text: str) -> list[int]:
        """Words with the space before them; new ones get the next number."""
        return [self.known.setdefault(word, len(self.known)) for word in WORD.findall(text)]

    async def _taken(self, request: web.Request) -> dict:
        """Notes the call and returns its body, after the delay and the fault that the test asked for."""
        self.headers.append(dict(request.headers))
        self.connections.add(request.transport)
        body = json.loads(await request.text())
        self.calls.append((request.path, body))
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.faults:
            status = self.faults.pop(0)
            if status == 0:
                request.transport.abort()
            if status != 200:
                headers = {"Retry-After": self.retry_after} if self.retry_after else {}
                raise _status(status, headers)
        return body

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await self._taken(request)
        if not self.ids:
            raise web.HTTPNotFound
        return web.json_response({"tokens": self.tokens(body["prompt"])})

    async def completions(self, request: web.Request) -> web.Response:
        body = await self._taken(request)
        choices = []
        for index, prompt in enumerate(body["prompt"]):
            told = self.model(prompt)
            if body.get("logprob_token_ids") and self.ids is True:
                by_number = {number: word for word, number in self.known.items()}
                top = {f"token_id:{n}": told[by_number[n]] for n in body["logprob_token_ids"]}
            else:
                best = sorted(told, key=told.__getitem__, reverse=True)[: body["logprobs"]]
                name = (lambda t: f"token_id:{self.known[t]}") if body.get("return_tokens_as_token_ids") else str
                top = {name(token): told[token] for token in best}
            choice = {"index": index, "text": " x", "logprobs": {"top_logprobs": [top]}}
            if body.get("return_token_ids"):
                choice["prompt_token_ids"] = self.tokens(prompt)
            choices.append(choice)
        count = sum(len(self.tokens(prompt)) for prompt in body["prompt"])
        usage = {"prompt_tokens": count, "prompt_tokens_details": {"cached_tokens": count // 2}}
        return web.json_response({"choices": choices[::-1], "usage": usage})

    async def chat(self, request: web.Request) -> web.Response:
        body = await self._taken(request)
        told = self.model(body["messages"][0]["content"])
        best = sorted(told, key=told.__getitem__, reverse=True)[: body["top_logprobs"]]
        tops = [{"token": token.strip(), "logprob": told[token]} for token in best]
        return web.json_response(
            {"choices": [{"logprobs": {"content": [{"top_logprobs": tops}]}}], "usage": {"prompt_tokens": 7}}
        )

    async def decisions(self, request: web.Request) -> web.Response:
        body = await self._taken(request)
        answers = []
        for question in body["questions"]:
            match question["type"]:
                case "predicate":
                    answers.append({"type": "predicate", "name": None, "probability": 0.75})
                case "choice":
                    each = [{"value": c["value"], "probability": 0.6 if n == 0 else 0.1} for n, c in
                            enumerate(question["choices"])]  # fmt: skip
                    answers.append({"type": "choice", "choice": "x", "probabilities": each, "confidence": 0.4})
                case "score":
                    each = [{"value": n, "label": c["label"], "probability": 0.5} for n, c in
                            enumerate(question["levels"])]  # fmt: skip
                    answers.append({"type": "score", "score": 0.5, "probabilities": each, "confidence": 0.5})
        usage = {"input_tokens": 41, "input_tokens_details": {"cached_tokens": 3}}
        return web.json_response({"model": "m", "answers": answers, "usage": usage})


def _status(status: int, headers: dict[str, str]) -> web.HTTPException:
    kind = type("Fault", (web.HTTPException,), {"status_code": status})
    return kind(headers=headers, text="the server repeats: THE TEXT")


@contextmanager
def serving_app(app: web.Application) -> Iterator[str]:
    """Runs an application on a free port, with a thread and an event loop of its own; its address with `/v1`."""
    address: list[str] = []
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        started.set()
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextmanager
def running_judge_server() -> Iterator[JudgeServer]:
    """A running server, with a thread and an event loop of its own."""
    server = JudgeServer()
    app = web.Application()
    app.router.add_post("/tokenize", server.tokenize)
    app.router.add_post("/v1/completions", server.completions)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_post("/v1/decisions", server.decisions)
    with serving_app(app) as server.url:
        yield server

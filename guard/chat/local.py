"""Answers from the model on this machine: the one that judges, in the same engine, with the same weights."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from guard.chat.upstream import SystemRole
from guard.engine.engine import Engine
from guard.engine.jobs import Event, Generation
from guard.engine.sampling import Sampling
from guard.errors import ModelError, Overloaded, UpstreamFailed, UpstreamRefused

__all__ = ["LocalUpstream"]

MOST = 2_048
"""Tokens of an answer where the request names no bound."""
_NOT_HERE = ("tools", "functions", "response_format", "logprobs", "logit_bias", "presence_penalty", "frequency_penalty")
"""What the local model does not do; a request that asks for it is refused rather than answered otherwise."""


class LocalUpstream:
    """See `guard.chat.upstream.Upstream`. The request's `model` may be any name: there is one.

    `prompts` tells the policies' system prompts as they are now. What a conversation that begins with one of them has
    of it, and of the template before it, is computed once for everybody. Nothing else is shared: from how long an
    answer takes, nobody learns what somebody else wrote.
    """

    def __init__(self, engine: Engine, *, prompts: Callable[[], Iterable[str]] = tuple) -> None:
        self._engine = engine
        self._prompts = prompts
        self._beginning = lru_cache(64)(lambda role, text: tuple(engine.tokens.beginning(role, text)))
        self.name = engine.name
        self.system_role: SystemRole = "system" if self._takes_system() else "none"

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """See `Upstream`."""
        texts: dict[int, str] = {}
        finished: dict[int, str] = {}
        last: dict[str, Any] = {}
        streamed = dict(body) | {"stream_options": {"include_usage": True}}
        async for chunk in self.stream(streamed, headers):
            last = chunk
            for choice in chunk["choices"]:
                index = choice["index"]
                texts[index] = texts.get(index, "") + choice["delta"].get("content", "")
                finished[index] = choice["finish_reason"] or finished.get(index, "")
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": texts[index], "refusal": None},
                "logprobs": None,
                "finish_reason": finished[index],
            }
            for index in sorted(texts)
        ]
        return last | {"object": "chat.completion", "choices": choices}

    async def stream(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[dict[str, Any]]:
        """See `Upstream`."""
        sampling, count = _asked(body)
        messages = self._messages(body)
        prompt = self._prompt(messages)
        shared = self._shared(messages, prompt)
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue()

        def teller(index: int) -> Callable[[Event | Exception], None]:
            def tell(event: Event | Exception) -> None:
                loop.call_soon_threadsafe(told.put_nowait, (index, event))

            return tell

        jobs = [
            Generation(
                shared,
                prompt[len(shared) :],
                sampling if sampling.seed is None else msgspec.structs.replace(sampling, seed=sampling.seed + index),
                self._engine.tokens.words(sampling.stop),
                ends=self._engine.tokens.ends,
                tell=teller(index),
            )
            for index in range(count)
        ]
        common = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self.name,
        }
        try:
            self._engine.scheduler.submit(*jobs)
        except ValueError as exc:
            raise _refused(str(exc), "messages", "context_length_exceeded") from exc
        except (Overloaded, TimeoutError) as exc:
            raise UpstreamFailed(str(exc), code="overloaded", status=503) from exc
        try:
            for index in range(count):
                yield common | {"choices": [_choice(index, {"role": "assistant", "content": ""})]}
            running = count
            while running:
                index, event = await told.get()
                if isinstance(event, Exception):
                    raise UpstreamFailed(f"the local model failed ({type(event).__name__})")
                if event.text or event.finish:
                    delta = {"content": event.text} if event.text else {}
                    yield common | {"choices": [_choice(index, delta, event.finish)]}
                running -= event.finish is not None
            if (body.get("stream_options") or {}).get("include_usage"):
                written = sum(job.tokens for job in jobs)
                usage = {
                    "prompt_tokens": len(prompt),
                    "completion_tokens": written,
                    "total_tokens": len(prompt) + written,
                }
                yield common | {"choices": [], "usage": usage}
        finally:
            for job in jobs:
                job.cancel()

    async def models(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """See `Upstream`."""
        return [{"id": self.name, "object": "model", "created": 0, "owned_by": "guard"}]

    async def close(self) -> None:
        """See `Upstream`: the engine is not its own."""

    def _messages(self, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        messages = []
        for number, message in enumerate(body["messages"]):
            content = message.get("content")
            if isinstance(content, list):
                content = "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
            if not isinstance(content, str) or message.get("tool_calls"):
                raise _refused("the local model reads texts only", f"messages[{number}]", "unsupported_value")
            messages.append((str(message["role"]), content))
        return messages

    def _prompt(self, messages: list[tuple[str, str]]) -> list[int]:
        try:
            return self._engine.tokens.conversation(messages)
        except ModelError as exc:
            raise _refused(str(exc), "messages", "invalid_value") from exc

    def _shared(self, messages: list[tuple[str, str]], prompt: list[int]) -> tuple[int, ...]:
        """The prompt's first tokens, where they are a policy's and the template's alone."""
        role, text = messages[0] if messages else ("", "")
        # Any other role may be the client's own word, and some templates write it out.
        if role != ("user" if self.system_role == "none" else self.system_role):
            return ()
        known = [said for said in map(str.strip, self._prompts()) if said and f"{text}\n".startswith(f"{said}\n")]
        shared = self._beginning(role, max(known, key=len)) if known else ()
        return shared if len(shared) < len(prompt) and tuple(prompt[: len(shared)]) == shared else ()

    def _takes_system(self) -> bool:
        try:
            self._engine.tokens.conversation([("system", "a"), ("user", "b")])
        except ModelError:
            return False
        return True


def _choice(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _asked(body: Mapping[str, Any]) -> tuple[Sampling, int]:
    """The rules of the answers, and how many are wanted.

    Raises:
        UpstreamRefused: something that this model does not do, or a value out of bounds.
    """
    for name in _NOT_HERE:
        given = body.get(name)
        if given and given != {"type": "text"}:
            raise _refused(f"the local model does not do `{name}`", name, "unsupported_parameter")
    stop = body.get("stop") or ()
    given = {
        "temperature": body.get("temperature"),
        "top_p": body.get("top_p"),
        "seed": body.get("seed"),
        "most": body.get("max_completion_tokens") or body.get("max_tokens") or MOST,
        "stop": (stop,) if isinstance(stop, str) else tuple(stop),
    }
    try:
        sampling = msgspec.convert({name: value for name, value in given.items() if value is not None}, Sampling)
        count = msgspec.convert(body.get("n") or 1, int)
    except msgspec.ValidationError as exc:
        raise _refused(str(exc), None, "invalid_value") from exc
    if not 1 <= count <= 16:
        raise _refused(f"n is {count}; it must be from 1 to 16", "n", "invalid_value")
    return sampling, count


def _refused(message: str, param: str | None, code: str) -> UpstreamRefused:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return UpstreamRefused(400, msgspec.json.encode({"error": error}))

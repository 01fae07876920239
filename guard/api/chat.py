"""`POST /v1/chat/completions` and `GET /v1/models`: OpenAI's chat, guarded on both sides.

The policy is named by the header `X-Guard-Policy` or by `"guard": {"policy": …}` in the body. Everything that OpenAI's
API does not know goes to the upstream as it came. A raw ASGI route: a client that leaves must end the upstream's work.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request, Response, Router, asgi, get
from litestar.exceptions import MethodNotAllowedException
from litestar.types import Message, Receive, Scope, Send

from guard.api.body import answer, decoded, read
from guard.api.errors import ClientGone
from guard.api.openai_errors import OPENAI_EXCEPTION_HANDLERS, ErrorBody, openai_error
from guard.api.openapi import describe_path, described
from guard.api.schemas import ChatAnswer, ChatRequest, check_length
from guard.chat import conversation
from guard.chat.rails import Answered, Begun, Refused
from guard.chat.report import RailReport, shown
from guard.chat.sse import DONE, written
from guard.config import Limits
from guard.errors import InvalidContent, NoUpstream
from guard.policy import Policy
from guard.service import Service

__all__ = ["router"]

_DECODER = msgspec.json.Decoder(dict[str, Any])
_NO_UPSTREAM = "Nobody is configured to answer: set GUARD_UPSTREAM_URL to an OpenAI-compatible server (docs/chat.md)"
_HEADERS = ("authorization", "openai-organization", "openai-project")
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
MOST_MESSAGES = 4_096
"""Messages of one conversation."""
_DESCRIPTION = described(
    ChatAnswer,
    body=ChatRequest,
    text="The answer, or with `stream` its chunks as server-sent events; what the rails found is in `guard`",
    errors=(400, 404, 413, 502, 503, 504),
    error=ErrorBody,
)(
    operation_id="Chat",
    summary="Chat with an upstream's model, checked on both sides",
    description="OpenAI's chat completions. The policy is named by `X-Guard-Policy`, or in the body's `guard`.",
    tags=["chat"],
)


def router(service: Service) -> Router:
    """The chat's routes, bound to their service."""
    guarded, limits = service.chat, service.settings.limits
    describe_path("/v1/chat/completions", post=_DESCRIPTION)

    async def respond(scope: Scope, body: bytes, send: Send) -> None:
        asked = decoded(body, _DECODER)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        policy = service.book[_policy(asked, headers) or service.settings.default_policy]
        messages = _checked(asked, limits)
        if not guarded.upstreams:
            raise NoUpstream(_NO_UPSTREAM)
        given = {name: headers[name] for name in _HEADERS if name in headers}
        asked.pop("guard", None)
        begun = await guarded.begin(asked, messages, policy, given)
        if isinstance(begun, Refused):
            await _refuse(send, begun, policy, asked)
        elif asked.get("stream"):
            async with aclosing(guarded.stream(begun, policy, given)) as chunks:
                await _stream(send, chunks, begun, policy)
        else:
            await _whole(send, await guarded.answer(begun, policy, given), begun, policy)

    @asgi("/v1/chat/completions", copy_scope=False)
    async def chat(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise MethodNotAllowedException(headers={"Allow": "POST"})
        body = await read(scope, receive, limits.max_body_bytes)
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        work = asyncio.create_task(respond(scope, body, told))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Whoever has left needs no answer: its upstream ends with the work.
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled():
            work.result()
        elif not started:
            raise ClientGone("the client left before its answer began")

    @get("/v1/models", include_in_schema=False)
    async def models(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The upstreams' models."""
        if not guarded.upstreams:
            raise NoUpstream(_NO_UPSTREAM)
        given = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        return answer({"object": "list", "data": await guarded.upstreams.models(given)})

    return Router("", route_handlers=[chat, models], exception_handlers=OPENAI_EXCEPTION_HANDLERS)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _policy(asked: dict[str, Any], headers: Mapping[str, str]) -> str:
    ours = asked.get("guard")
    if ours is not None and not isinstance(ours, dict):
        raise InvalidContent('expected an object such as {"policy": "default"}', path="$.guard")
    for name in ours or {}:
        if name != "policy":
            raise InvalidContent("unknown field; there is: policy", path=f"$.guard.{name}")
    named = (ours or {}).get("policy", headers.get("x-guard-policy", ""))
    if not isinstance(named, str):
        raise InvalidContent("expected a policy's name", path="$.guard.policy")
    return named


def _checked(asked: dict[str, Any], limits: Limits) -> list[conversation.Message]:
    """The request's messages, within the limits."""
    if not isinstance(asked.get("model"), str) or not asked["model"]:
        raise InvalidContent("expected a model's name", path="$.model")
    if not isinstance(asked.get("stream"), bool | None):
        raise InvalidContent("expected true or false", path="$.stream")
    messages = conversation.messages_of(asked)
    if len(messages) > MOST_MESSAGES:
        raise InvalidContent(f"more than {MOST_MESSAGES} messages", path="$.messages")
    check_length(sum([len(piece.text) for message in messages for piece in message.pieces]), "$.messages", limits)
    return messages


async def _whole(send: Send, told: Answered, begun: Begun, policy: Policy) -> None:
    chat, found = policy.spec.chat, told.report
    if found.action == "block" and chat.block_style != "openai":
        status, body = _error(policy, chat.refusals.output, found, told.body["guard"])
    else:
        status, body = 200, told.body
    headers = [*_named(policy, begun.report), (b"x-guard-output-action", found.action.encode())]
    await _send(send, status, headers, body)


async def _refuse(send: Send, refused: Refused, policy: Policy, asked: dict[str, Any]) -> None:
    """A prompt that went nowhere, in the policy's style."""
    found = shown(policy, refused.report, None)
    headers = _named(policy, refused.report)
    if policy.spec.chat.block_style != "openai":
        status, body = _error(policy, refused.says, refused.report, found)
        await _send(send, status, headers, body)
        return
    common = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked["model"]}
    message = {"role": "assistant", "content": refused.says, "refusal": refused.says}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if not asked.get("stream"):
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}
        body = common | {"object": "chat.completion", "choices": [choice], "usage": usage, "guard": found}
        await _send(send, 200, headers, body)
        return
    common["object"] = "chat.completion.chunk"
    said = {"index": 0, "delta": message, "logprobs": None, "finish_reason": None}
    ended = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "content_filter"}
    chunks = [common | {"choices": [said]}, common | {"choices": [ended], "guard": found}]
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        chunks = [*[chunk | {"usage": None} for chunk in chunks], common | {"choices": [], "usage": usage}]
    await send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, *headers]})
    await _event(send, b"".join([*map(written, chunks), DONE]), more=False)


async def _stream(send: Send, chunks: AsyncGenerator[dict[str, Any]], begun: Begun, policy: Policy) -> None:
    """The headers go with the first chunk: until then an error has a status of its own."""
    first = await anext(chunks, None)
    headers = [*_EVENTS, *_named(policy, begun.report)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        if first is not None:
            await _event(send, written(first))
        async for chunk in chunks:
            await _event(send, written(chunk))
    except Exception as exc:  # noqa: BLE001 (the status has gone out: what is left is an error inside the stream)
        await _event(send, written(ErrorBody(openai_error(exc))), more=False)
    else:
        await _event(send, DONE, more=False)


async def _event(send: Send, event: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": more})


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], told: dict[str, Any]) -> None:
    body = msgspec.json.encode(told)
    length = (b"content-length", str(len(body)).encode())
    start = [(b"content-type", b"application/json"), *headers, length]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _named(policy: Policy, found: RailReport) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-guard-policy", f"{policy.name}@{policy.fingerprint}".encode()),
        (b"x-guard-input-action", found.action.encode()),
    ]


def _error(policy: Policy, says: str, found: RailReport, told: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """A block as an error: OpenAI's, or Mistral's with its decisions."""
    if policy.spec.chat.block_style == "openai_error":
        error = {"message": says, "type": "invalid_request_error", "param": "messages", "code": "content_filter"}
        return 400, {"error": error, "guard": told}
    decisions = {
        name: {"threshold": category.threshold, "score": category.score, "violated": True}
        for name, category in found.categories.items()
    }
    results = {"guard": {"model_name": policy.name, "decisions": decisions, "violated": True, "action": "block"}}
    refused = {"message": "Content blocked by guardrail", "status": 403}
    return 403, {"error": refused, "guardrails": {"results": results}, "guard": told}

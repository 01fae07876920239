"""`POST /v1/chat/completions` and `GET /v1/models`: OpenAI's chat, guarded on both sides.

The policy is named by the header `X-Guard-Policy` or by `"guard": {"policy": …}` in the body. What is not Guard's goes
to the upstream as it came. Azure's clients find the same at Azure's address, in Azure's style. A raw ASGI route: a
client that leaves must end the upstream's work.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request, Response, Router, asgi, get
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.types import Message, Receive, Scope, Send

from guard.access import Caller
from guard.api.access import admitted, caller_of
from guard.api.blocks import blocked_answer, refused_answer, refused_chunks
from guard.api.body import answer, decoded, read
from guard.api.chat_options import guard_field, options_of
from guard.api.errors import ClientGone
from guard.api.ids import fresh_id
from guard.api.openai_errors import OPENAI_EXCEPTION_HANDLERS, ErrorBody, OpenAIError, openai_error
from guard.api.openapi import describe_path, described
from guard.api.presence import gone
from guard.api.schemas import ChatAnswer, ChatRequest, check_length, opening
from guard.chat import conversation
from guard.chat.options import Options
from guard.chat.rails import Answered, Begun, Refused
from guard.chat.report import RailReport
from guard.chat.sse import DONE, written
from guard.config import Limits
from guard.content import Turn
from guard.errors import InvalidContent, NoUpstream
from guard.policy import Policy
from guard.service import Service
from guard.store import Finding
from guard.store.recorder import CALL, Call, Recorder, keeping

__all__ = ["router"]

_DECODER = msgspec.json.Decoder(dict[str, Any])
_NO_UPSTREAM = "Nobody is configured to answer: set GUARD_UPSTREAM_URL to an OpenAI-compatible server (docs/chat.md)"
_HEADERS = ("authorization", "openai-organization", "openai-project")
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_AZURES_PATH = re.compile(r"/(?P<deployment>[^/]+)/chat/completions/?")
_COMMON = ("id", "object", "created", "model")
"""What all chunks of a stream have alike."""
MOST_MESSAGES = 4_096
"""Messages of one conversation."""
_STOPPED = OpenAIError("Guard was stopped before the answer was complete", "server_error", code="stopped")
_DESCRIPTION = described(
    ChatAnswer,
    body=ChatRequest,
    text="The answer, or with `stream` its chunks as server-sent events; what the rails found is in `guard`",
    errors=(400, 401, 403, 404, 408, 413, 415, 429, 502, 503, 504),
    error=ErrorBody,
    streams=True,
)(
    operation_id="Chat",
    summary="Chat with an upstream's model, checked on both sides",
    description="OpenAI's chat completions. The policy is named by `X-Guard-Policy`, or in the body's `guard`.",
    tags=["chat"],
)


def router(service: Service) -> Router:
    """The chat's routes, bound to their service."""
    chat = _Chat(service)
    describe_path("/v1/chat/completions", post=_DESCRIPTION)

    @asgi("/v1/chat/completions", copy_scope=False)
    async def openais(scope: Scope, receive: Receive, send: Send) -> None:
        await chat(scope, receive, send, None)

    # A mount: Litestar's raw routes have no path parameters.
    @asgi("/openai/deployments", is_mount=True, copy_scope=False)
    async def azures(scope: Scope, receive: Receive, send: Send) -> None:
        found = _AZURES_PATH.fullmatch(scope["path"])
        if found is None:
            raise NotFoundException
        scope["path_template"] = "/openai/deployments/{deployment}/chat/completions"
        await chat(scope, receive, send, found["deployment"])

    @get("/v1/models", include_in_schema=False)
    async def models(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The upstreams' models."""
        caller_of(request.scope, service.gate)
        upstreams = service.chat.upstreams
        if not upstreams:
            raise NoUpstream(_NO_UPSTREAM)
        return answer(
            {
                "object": "list",
                "data": await upstreams.models(_given(request.headers, keyed=service.gate.keys is not None)),
            }
        )

    return Router("", route_handlers=[openais, azures, models], exception_handlers=OPENAI_EXCEPTION_HANDLERS)


class _Chat:
    """One chat request, from its body to its answer."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = service.settings.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send, deployment: str | None) -> None:
        """`deployment`: the model, where Azure's address names one."""
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise MethodNotAllowedException(headers={"Allow": "POST"})
        caller = caller_of(scope, self._service.gate)
        body = await read(scope, receive, self._limits.max_body_bytes)
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        work = asyncio.create_task(self._respond(scope, body, told, deployment, caller))
        left = asyncio.create_task(gone(receive))
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Whoever has left needs no answer: its upstream ends with the work.
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
        if not work.cancelled():
            work.result()
        elif not started:
            raise ClientGone("the client left before its answer began")

    async def _respond(self, scope: Scope, body: bytes, send: Send, deployment: str | None, caller: Caller) -> None:
        service, guarded = self._service, self._service.chat
        asked = decoded(body, _DECODER)
        if deployment is not None:
            asked["model"] = deployment
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        ours = guard_field(asked)
        named = ours.policy or headers.get("x-guard-policy")
        named = service.gate.policy(caller, named, service.settings.default_policy)
        # Whoever names a policy that there is not is told that first.
        _ = service.book[named]
        messages, characters = _checked(asked, self._limits)
        policy = service.book.chosen(
            named,
            tenant=caller.tenant,
            beginning=lambda: opening(Turn(message.role, message.text) for message in messages),
            # Guardrails of its own name categories of the policy that was asked for.
            suits=lambda _: not asked.get("guardrails"),
        )
        style = "azure" if deployment is not None else caller.block_style
        options = options_of(asked, ours, policy, style=style, tenant=caller.tenant)
        if not guarded.upstreams:
            raise NoUpstream(_NO_UPSTREAM)
        await admitted(service.gate, caller, characters)
        given = _given(headers, keyed=service.gate.keys is not None)
        records = self._records(asked, policy, caller)
        if records is not None:
            options = msgspec.structs.replace(options, findings=True)
        begun = await guarded.begin(asked, messages, policy, given, options)
        if records is not None:
            try:
                await records.keep(begun.findings)
            except BaseException:
                if isinstance(begun, Begun):
                    await begun.abandon()
                raise
        if isinstance(begun, Refused):
            await _refuse(send, begun, policy, asked, options, records)
        elif asked.get("stream"):
            found: list[Finding] | None = [] if records is not None else None
            async with aclosing(guarded.stream(begun, policy, given, found)) as chunks:
                await _stream(send, chunks, begun, policy, records, found)
        else:
            told = await guarded.answer(begun, policy, given)
            if records is not None:
                await records.keep(told.findings)
            await _whole(send, told, begun, policy, records)

    def _records(self, asked: Mapping[str, Any], policy: Policy, caller: Caller) -> "_Records | None":
        """Where the request's records go; None where it leaves none. OpenAI's `store: false` means that here too, its
        `true` speaks of the upstream's store alone."""
        recorder = self._service.recorder
        if recorder is None:
            return None
        kept = keeping(policy, False if asked.get("store") is False else None, stored=True)
        if kept is None:
            return None
        call = Call(f"mod_{fresh_id()}", "chat", caller.tenant, caller.name, policy, kept)
        # For shadows, whose records are beside those of this call.
        CALL.set(call)
        return _Records(recorder, call)


class _Records:
    """The records of one chat: first those of its prompt, then those of its answer. `lost`: some are not kept."""

    def __init__(self, recorder: Recorder, call: Call) -> None:
        self.lost = False
        self._recorder = recorder
        self._call = call

    async def keep(self, findings: Sequence[Finding]) -> None:
        """Has records kept, also where the client leaves meanwhile: nobody gets out of a record by closing early.

        Raises:
            StoreError: they are not, and the policy refuses the answer then.
        """
        self.lost |= bool(await asyncio.shield(self.keeping_on(findings)))

    def keeping_on(self, findings: Sequence[Finding]) -> asyncio.Task[frozenset[int]]:
        """The same, for a client that has left already."""
        return self._recorder.keeping_on(self._call, findings)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the answer says of them: the id that theirs begin with, and whether some are missing already."""
        named = [(b"x-guard-record", self._call.id.encode())]
        return [*named, (b"x-guard-stored", b"false")] if self.lost else named


def _given(headers: Mapping[str, str], *, keyed: bool) -> dict[str, str]:
    """The headers that an upstream may need: who the client is. Where Guard asks for keys, they are nobody else's
    business: what is the upstream's then comes under a name of its own."""
    given = {name: headers[name] for name in _HEADERS if name in headers}
    if keyed:
        own = headers.get("x-upstream-authorization")
        given.pop("authorization", None)
        return given if own is None else given | {"authorization": own}
    if "api-key" in headers:
        # Azure's name for it.
        given.setdefault("authorization", f"Bearer {headers['api-key']}")
    return given


def _checked(asked: dict[str, Any], limits: Limits) -> tuple[list[conversation.Message], int]:
    """The request's messages, within the limits, and their characters."""
    if not isinstance(asked.get("model"), str) or not asked["model"]:
        raise InvalidContent("expected a model's name", path="$.model")
    if not isinstance(asked.get("stream"), bool | None):
        raise InvalidContent("expected true or false", path="$.stream")
    messages = conversation.messages_of(asked)
    if len(messages) > MOST_MESSAGES:
        raise InvalidContent(f"more than {MOST_MESSAGES} messages", path="$.messages")
    characters = sum([len(piece.text) for message in messages for piece in message.pieces])
    check_length(characters, "$.messages", limits)
    return messages, characters


async def _whole(send: Send, told: Answered, begun: Begun, policy: Policy, records: _Records | None) -> None:
    status, body = 200, told.body
    if told.report.action == "block":
        status, body = blocked_answer(told.body, told.verdicts, begun, policy)
    headers = [*_named(policy, begun.report, records), (b"x-guard-output-action", told.report.action.encode())]
    await _send(send, status, headers, body)


async def _refuse(
    send: Send, refused: Refused, policy: Policy, asked: dict[str, Any], options: Options, records: _Records | None
) -> None:
    """A prompt that went nowhere, in the request's style."""
    headers = _named(policy, refused.report, records)
    if not asked.get("stream") or options.style_under(policy) != "openai":
        status, body = refused_answer(refused, policy, asked["model"], options)
        await _send(send, status, headers, body)
        return
    wanted = asked.get("stream_options")
    usage = isinstance(wanted, dict) and bool(wanted.get("include_usage"))
    chunks = refused_chunks(refused, policy, asked["model"], options, usage=usage)
    await send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, *headers]})
    await _event(send, b"".join([*map(written, chunks), DONE]), more=False)


async def _stream(
    send: Send,
    chunks: AsyncGenerator[list[dict[str, Any]]],
    begun: Begun,
    policy: Policy,
    records: _Records | None,
    found: list[Finding] | None,
) -> None:
    """The headers go with the first chunk: until then an error has a status of its own. The records of what was `found`
    are kept before the end is told."""
    first = await anext(chunks, None)
    headers = [*_EVENTS, *_named(policy, begun.report, records)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        if first is not None:
            await _event(send, b"".join(map(written, first)))
        # What leaves together is one write: a system call for each token would cost more than its check.
        async for leaving in chunks:
            await _event(send, b"".join(map(written, leaving)))
        if records is not None and found:
            findings = found.copy()
            found.clear()
            await _kept(send, records, findings, policy, first)
    except asyncio.CancelledError:
        await _left(chunks, records, found)
        # The client has left, which makes this a word to nobody; or Guard stops and has waited as long as it may.
        await _event(send, written(ErrorBody(_STOPPED)), more=False)
        raise
    except Exception as exc:  # noqa: BLE001 (the status has gone out: what is left is an error inside the stream)
        await _left(chunks, records, found)
        await _event(send, written(ErrorBody(openai_error(exc))), more=False)
    else:
        await _event(send, DONE, more=False)


async def _kept(
    send: Send,
    records: _Records,
    findings: Sequence[Finding],
    policy: Policy,
    first: Sequence[Mapping[str, Any]] | None,
) -> None:
    """Has a stream's records kept. Its headers have gone out: what is lost now is told in a chunk of its own."""
    before = records.lost
    await records.keep(findings)
    if records.lost and not before:
        common = {name: value for name, value in (first or ({},))[0].items() if name in _COMMON}
        told = {"policy": {"name": policy.name, "fingerprint": policy.fingerprint}, "stored": False}
        await _event(send, written(common | {"choices": [], "guard": told}))


async def _left(
    chunks: AsyncGenerator[list[dict[str, Any]]], records: _Records | None, found: list[Finding] | None
) -> None:
    """What was found in a stream that has not come to its end leaves its records too; nobody waits for them."""
    if records is not None and found is not None:
        await chunks.aclose()
        if found:
            records.keeping_on(found)


async def _event(send: Send, event: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": more})


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], told: dict[str, Any]) -> None:
    body = msgspec.json.encode(told)
    length = (b"content-length", str(len(body)).encode())
    start = [(b"content-type", b"application/json"), *headers, length]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _named(policy: Policy, found: RailReport, records: _Records | None) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-guard-policy", f"{policy.name}@{policy.fingerprint}".encode()),
        (b"x-guard-input-action", found.action.encode()),
        *(records.headers if records is not None else ()),
    ]

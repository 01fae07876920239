"""`POST /moderate`: texts in, verdicts out.

The route that everything else waits for is a raw ASGI handler inside Litestar: Litestar routes to it and
turns its exceptions into problem details; the body goes straight from the socket into a struct, and the
answer straight from structs to the socket. docs/decisions/0003 has the figures.
"""

import secrets

import msgspec
from litestar import Router, asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.types import Receive, Scope, Send

from guard.access import Caller
from guard.api.access import admitted, caller_of
from guard.api.body import decoded, read
from guard.api.openapi import describe_path, described
from guard.api.presence import while_present
from guard.api.schemas import ModerateRequest, ModerateResponse, PolicyName, Usage, contents_of, models_of
from guard.errors import InvalidContent
from guard.service import Service

__all__ = ["router"]

_DECODER = msgspec.json.Decoder(ModerateRequest)
_ENCODER = msgspec.json.Encoder()
_JSON = (b"content-type", b"application/json")

_DESCRIPTION = described(
    ModerateResponse,
    body=ModerateRequest,
    text="One result per text, in order",
    errors=(400, 401, 403, 404, 413, 422, 429, 503),
)(
    operation_id="Moderate",
    summary="Moderate a text, several texts, or the last turn of a conversation",
    description="Gives one verdict per text under a policy.",
    tags=["moderation"],
)


def router(service: Service) -> Router:
    """The route that moderates, bound to its service."""
    models = models_of(service.moderator)
    limits = service.settings.limits
    describe_path("/moderate", post=_DESCRIPTION)

    async def answered(body: bytes, caller: Caller) -> bytes:
        asked = decoded(body, _DECODER)
        policy = service.book[service.gate.policy(caller, asked.policy, service.settings.default_policy)]
        contents = contents_of(asked, limits)
        if asked.store:
            raise InvalidContent("this version keeps no texts: send `store: false`, or leave it out", path="$.store")
        only = frozenset(asked.categories) if asked.categories is not None else None
        if caller.limited:
            await admitted(service.gate, caller, sum([len(content.text) for content in contents]))
        done = await service.moderator.moderate(
            contents, policy, only=only, explained=asked.explain, tenant=caller.tenant
        )
        answer = ModerateResponse(
            id=f"mod_{secrets.token_hex(12)}",
            policy=PolicyName(policy.name, policy.fingerprint),
            models=models,
            results=done.verdicts,
            usage=Usage(len(contents), done.judged, done.judge_tokens, round(done.seconds * 1e3, 3)),
        )
        return _ENCODER.encode(answer)

    @asgi("/moderate", copy_scope=False)
    async def moderate(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise MethodNotAllowedException(headers={"Allow": "POST"})
        caller = caller_of(scope, service.gate)
        body = await read(scope, receive, limits.max_body_bytes)
        with while_present(receive):
            answer = await answered(body, caller)
        length = (b"content-length", str(len(answer)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [_JSON, length]})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    return Router("", route_handlers=[moderate])

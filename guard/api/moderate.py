"""`POST /moderate`: texts in, verdicts out.

The route that everything else waits for is a raw ASGI handler inside Litestar: Litestar routes to it and
turns its exceptions into problem details; the body goes straight from the socket into a struct, and the
answer straight from structs to the socket. docs/decisions/0003 has the figures.
"""

from collections.abc import Sequence

import msgspec
from litestar import Router, asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.types import Receive, Scope, Send

from guard.access import Caller
from guard.api.access import admitted, caller_of
from guard.api.body import decoded, read
from guard.api.ids import fresh_id
from guard.api.openapi import describe_path, described
from guard.api.presence import while_present
from guard.api.schemas import ModerateRequest, ModerateResponse, PolicyName, Usage, contents_of, models_of, opening
from guard.content import Content, Turn
from guard.moderator import Moderation
from guard.service import Service
from guard.store import Finding
from guard.store.recorder import NOT_STORED, Call, Recorder, keeping
from guard.verdict import Verdict

__all__ = ["router"]

_DECODER = msgspec.json.Decoder(ModerateRequest)
_ENCODER = msgspec.json.Encoder()
_JSON = (b"content-type", b"application/json")

_DESCRIPTION = described(
    ModerateResponse,
    body=ModerateRequest,
    text="One result per text, in order",
    errors=(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
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
    recorder = service.recorder
    describe_path("/moderate", post=_DESCRIPTION)

    async def answered(body: bytes, caller: Caller) -> bytes:
        asked = decoded(body, _DECODER)
        named = service.gate.policy(caller, asked.policy, service.settings.default_policy)
        # Whoever names a policy that there is not is told that first.
        _ = service.book[named]
        contents = contents_of(asked, limits)
        only = frozenset(asked.categories) if asked.categories is not None else None
        first = contents[0]
        policy = service.book.chosen(
            named,
            tenant=caller.tenant,
            beginning=lambda: opening([*first.context, Turn(first.role, first.text)]),
            # Whoever names categories gets a verdict on them, or the error of the policy that was asked for; and a
            # record that is asked for is not refused for a canary's sake.
            suits=lambda other: (
                (only is None or only <= {category.name for category in other.active(first.rail)})
                and (not asked.store or other.spec.store_texts)
            ),
        )
        kept = None
        if recorder is not None or asked.store is not None:
            kept = keeping(policy, asked.store, stored=recorder is not None)
        if caller.limited:
            await admitted(service.gate, caller, sum([len(content.text) for content in contents]))
        done = await service.moderator.moderate(
            contents, policy, only=only, explained=asked.explain, tenant=caller.tenant
        )
        id, verdicts = f"mod_{fresh_id()}", done.verdicts
        if recorder is not None and kept is not None:
            call = Call(id, "moderate", caller.tenant, caller.name, policy, kept, only)
            verdicts = await _recorded(recorder, call, contents, done)
        answer = ModerateResponse(
            id=id,
            policy=PolicyName(policy.name, policy.fingerprint),
            models=models,
            results=verdicts,
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


async def _recorded(
    recorder: Recorder, call: Call, contents: Sequence[Content], done: Moderation
) -> tuple[Verdict, ...]:
    """The verdicts once their records are kept; those whose record is not say so among their reasons."""
    findings = [Finding(*found) for found in zip(contents, done.verdicts, done.assessments, strict=True)]
    lost = await recorder.keep(call, findings)
    if not lost:
        return done.verdicts
    return tuple(
        [
            msgspec.structs.replace(verdict, reasons=(*verdict.reasons, NOT_STORED)) if place in lost else verdict
            for place, verdict in enumerate(done.verdicts)
        ]
    )

"""`POST /moderate`: texts in, verdicts out.

The route that everything else waits for is a raw ASGI handler inside Litestar: Litestar routes to it and
turns its exceptions into problem details; the body goes straight from the socket into a struct, and the
answer straight from structs to the socket. docs/decisions/0003 has the figures.
"""

import msgspec
from litestar import Router
from litestar.types import Scope

from guard.access import Caller
from guard.api.body import decoded
from guard.api.openapi import describe_path, described
from guard.api.posted import posted
from guard.api.schemas import ModerateRequest, ModerateResponse, PolicyName, Usage, contents_of, models_of
from guard.api.verdicts import moderated
from guard.service import Service

__all__ = ["router"]

_DECODER = msgspec.json.Decoder(ModerateRequest)
_ENCODER = msgspec.json.Encoder()

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
    describe_path("/moderate", post=_DESCRIPTION)

    async def answered(scope: Scope, caller: Caller, body: bytes) -> bytes:
        asked = decoded(body, _DECODER)
        contents = contents_of(asked, limits)
        given = await moderated(
            service,
            caller,
            contents,
            policy=asked.policy,
            only=frozenset(asked.categories) if asked.categories is not None else None,
            explained=asked.explain,
            store=asked.store,
        )
        policy, done = given.policy, given.done
        answer = ModerateResponse(
            id=given.id,
            policy=PolicyName.of(policy),
            models=models,
            results=given.verdicts,
            usage=Usage(len(contents), done.judged, done.judge_tokens, round(done.seconds * 1e3, 3)),
        )
        return _ENCODER.encode(answer)

    return Router("", route_handlers=[posted("/moderate", service, answered)])

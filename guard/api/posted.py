"""Routes that read one JSON body and give one JSON answer, as raw ASGI handlers inside Litestar: docs/decisions/0003
has the figures."""

from collections.abc import Awaitable, Callable

from litestar import asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from guard.access import Caller
from guard.api.access import caller_of
from guard.api.body import read
from guard.api.presence import while_present
from guard.service import Service

__all__ = ["posted"]

_JSON = (b"content-type", b"application/json")


def posted(
    path: str,
    service: Service,
    answered: Callable[[Scope, Caller, bytes], Awaitable[bytes]],
    *,
    key_in_query: bool = False,
) -> ASGIRouteHandler:
    """The route `path`: `answered` makes a body's answer, and is cancelled once the client has left.

    `key_in_query`: the key may be the address's `?key=`, for clients that know no other way.
    """
    most = service.settings.limits.max_body_bytes

    @asgi(path, copy_scope=False)
    async def post(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise MethodNotAllowedException(headers={"Allow": "POST"})
        caller = caller_of(scope, service.gate, in_query=key_in_query)
        body = await read(scope, receive, most)
        with while_present(receive):
            answer = await answered(scope, caller, body)
        length = (b"content-length", str(len(answer)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [_JSON, length]})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    return post

"""Bodies: requests decoded straight into their structs, answers encoded from theirs."""

from typing import TypeVar

import msgspec
from litestar import Response
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import Receive, Scope

from guard.api.errors import ClientGone, MalformedBody, SchemaMismatch, UnsupportedEncoding

__all__ = ["answer", "decoded", "read"]

T = TypeVar("T")

_PLAIN = frozenset({b"identity", b""})


def answer(value: object) -> Response[bytes]:
    """A struct as a JSON response."""
    return Response(msgspec.json.encode(value), media_type="application/json")


async def read(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body of a raw ASGI request, at most `limit` bytes; what was announced larger is not read at all.

    Raises:
        RequestEntityTooLarge: more bytes than `limit`.
        UnsupportedEncoding: it is compressed; nothing is decompressed here.
        BodyTooSlow: it takes too long (`guard.api.wire`).
        ClientGone: the client left before it had sent everything.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise RequestEntityTooLarge
        if name == b"content-encoding" and not _PLAIN.issuperset(value.lower().replace(b" ", b"").split(b",")):
            raise UnsupportedEncoding
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone("the client left before its request was complete")
        body = body + message["body"] if body else message["body"]
        if len(body) > limit:
            raise RequestEntityTooLarge
        if not message["more_body"]:
            return body


def decoded(body: bytes, decoder: msgspec.json.Decoder[T], example: str = '{"input": "a text"}') -> T:
    """A body as the decoder's type. `example`: a body that would do.

    Raises:
        MalformedBody: no JSON, no UTF-8, or nested too deeply.
        SchemaMismatch: JSON of another shape.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        message, _, place = str(exc).partition(" - at `")
        raise SchemaMismatch(message, path=place.rstrip("`") or "$") from exc
    except msgspec.DecodeError as exc:
        raise MalformedBody(f"{exc}; expected a JSON object such as {example}") from exc
    except UnicodeDecodeError as exc:
        raise MalformedBody(f"The body is not valid UTF-8 (byte {exc.start})") from exc
    except RecursionError as exc:
        raise MalformedBody("The body is nested too deeply") from exc

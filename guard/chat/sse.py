"""Server-sent events as OpenAI's chat streams use them: `data: <json>`, at the end `data: [DONE]`."""

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

import msgspec

from guard.errors import UpstreamFailed

__all__ = ["DONE", "frames", "written"]

DONE = b"data: [DONE]\n\n"
MOST = 32 * 1_024 * 1_024
"""Bytes of one event; a larger one is no chat's."""
_DECODER = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()


def written(chunk: object) -> bytes:
    """A chunk as an event."""
    return b"data: " + _ENCODER.encode(chunk) + b"\n\n"


async def frames(parts: AsyncIterable[bytes]) -> AsyncGenerator[dict[str, Any]]:
    """The JSON objects of a stream, until `[DONE]`.

    Lines may end in any of the three ways and be cut anywhere; comments and other fields are passed over.

    Raises:
        UpstreamFailed: an event is no JSON object or too large, or the stream ends without `[DONE]`.
    """
    data: list[bytes] = []
    size = 0
    async for line in _lines(parts):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
            size += len(line)
            if size > MOST:
                raise UpstreamFailed(f"an event of the upstream's stream is larger than {MOST} bytes")
        elif not line and data:
            whole, data, size = b"\n".join(data), [], 0
            if whole.strip() == b"[DONE]":
                return
            yield _decoded(whole)
    # Some servers leave out the last empty line.
    if b"\n".join(data).strip() == b"[DONE]":
        return
    raise UpstreamFailed("the upstream's stream broke off", code="upstream_closed")


def _decoded(event: bytes) -> dict[str, Any]:
    try:
        return _DECODER.decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise UpstreamFailed("the upstream's stream holds what is no JSON object", code="upstream_malformed") from exc


async def _lines(parts: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    held = bytearray()
    after_return = False
    async for came in parts:
        # The second half of a line's end.
        part = came[1:] if after_return and came.startswith(b"\n") else came
        after_return = came.endswith(b"\r") if came else after_return
        held += part
        if len(held) > MOST:
            raise UpstreamFailed(f"a line of the upstream's stream is longer than {MOST} bytes")
        if b"\n" not in part and b"\r" not in part:
            continue
        *whole, rest = bytes(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        held = bytearray(rest)
        for line in whole:
            yield line
    if held:
        yield bytes(held)

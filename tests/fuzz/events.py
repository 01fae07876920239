"""Server-sent events: the same however the bytes are cut, and never another error than the upstream's."""

from collections.abc import AsyncIterator, Coroutine
from itertools import pairwise
from typing import Any

from guard.chat.sse import frames
from guard.errors import UpstreamFailed

__all__ = ["check"]

_MOST_CUTS = 16


def check(data: bytes) -> None:
    """Raises AssertionError where cuts change what is read. The first byte says how many there are, the next ones
    where; the rest is the stream."""
    count = data[0] % _MOST_CUTS if data else 0
    cuts, stream = data[1 : 1 + count], data[1 + count :]
    places = [0, *sorted(len(stream) * cut // 255 for cut in cuts), len(stream)]
    whole = _read([stream])
    assert _read([stream[start:end] for start, end in pairwise(places)]) == whole, "cuts change what is read"
    assert _read([stream[at : at + 1] for at in range(len(stream))]) == whole, "single bytes are read otherwise"


def _read(parts: list[bytes]) -> tuple[list[dict[str, Any]], str]:
    """What a stream in these parts gives, and the error that ends it, empty where none does."""
    given: list[dict[str, Any]] = []

    async def came() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def read() -> str:
        try:
            async for chunk in frames(came()):
                assert isinstance(chunk, dict)
                given.append(chunk)
        except UpstreamFailed as exc:
            return f"{exc.code}: {exc}"
        return ""

    return given, _done(read())


def _done(work: Coroutine[Any, Any, str]) -> str:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return str(end.value)
    raise AssertionError("it waits for something")

"""A client cheap enough to ask hundreds of streams at once: requests over kept connections, and when what arrived."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import httptools
import msgspec

from benchmarks.upstream import model, things, tokens_of

__all__ = ["Asking", "Told", "ask_all", "chat", "is_whole", "prompt", "said"]

_ANYTHING = re.compile(rb'"content":"[^"]')
_SENTENCE = (
    "The parcel that I ordered on Monday has not arrived yet and the tracking page shows nothing new so "
    "please tell me whether it was sent and when I can expect it"
)


class Told(NamedTuple):
    """An answer: its status, when it was asked for, when its first text and its end came (seconds of
    `time.perf_counter`), and its body."""

    status: int
    asked: float
    first: float
    ended: float
    body: bytes


def prompt(number: int, words: int = 30) -> str:
    """A question of 6 to 30 words that no other number below a million gives."""
    return " ".join([*_SENTENCE.split()[: words - 5], *things(number)])


def chat(text: str, *, tokens: int, pace: int = 0, stream: bool = False) -> dict[str, Any]:
    """A request for a scripted answer."""
    return {"model": model(tokens, pace), "messages": [{"role": "user", "content": text}], "stream": stream}


def said(told: Told) -> str:
    """What a whole answer, or a stream's chunks joined, say."""
    if not told.body.startswith(b"data: "):
        return str(msgspec.json.decode(told.body)["choices"][0]["message"]["content"])
    events = [event.removeprefix(b"data: ") for event in told.body.split(b"\n\n") if event.startswith(b"data: {")]
    chunks = [msgspec.json.decode(event) for event in events]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))


def is_whole(told: Told, asked: dict[str, Any]) -> bool:
    """Whether all of a scripted answer has come, and nothing else."""
    if told.status != 200 or (asked["stream"] and not told.body.endswith(b"data: [DONE]\n\n")):
        return False
    _, count, _ = asked["model"].split("-")
    return said(told) == "".join(tokens_of(asked["messages"][-1]["content"], int(count)))


class Asking(asyncio.Protocol):
    """One connection to a server, for one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Told] | None = None
        self._parts: list[bytes] = []
        self._asked = self._first = 0.0

    @classmethod
    async def connected(cls, url: str) -> Self:
        """A connection to `http://HOST:PORT`."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        _, made = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        return made

    async def ask(self, body: dict[str, Any], headers: Sequence[tuple[str, str]] = ()) -> Told:
        """The answer to a chat request.

        Raises:
            ConnectionError: the server has closed the connection.
        """
        content = msgspec.json.encode(body)
        more = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._answer = asyncio.get_running_loop().create_future()
        self._parts, self._first = [], 0.0
        self._asked = time.perf_counter()
        self._transport.write(head.encode() + content)
        return await self._answer

    def close(self) -> None:
        """Leaves."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server has closed the connection"))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """See `httptools.HttpResponseParser`."""
        self._parts.append(body)
        if not self._first and _ANYTHING.search(body):
            self._first = time.perf_counter()

    def on_message_complete(self) -> None:
        """See `httptools.HttpResponseParser`."""
        status, body = self._parser.get_status_code(), b"".join(self._parts)
        # A parser reads one answer.
        self._parser = httptools.HttpResponseParser(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Told(status, self._asked, self._first, time.perf_counter(), body))


async def ask_all(
    url: str, bodies: Sequence[dict[str, Any]], *, connections: int, headers: Sequence[tuple[str, str]] = ()
) -> list[Told]:
    """Asks everything over so many connections, each with one request at a time; answers in the requests' order."""
    found: dict[int, Told] = {}
    left = iter(enumerate(bodies))

    async def work(asking: Asking) -> None:
        for number, body in left:
            found[number] = await asking.ask(body, headers)

    open_ = [await Asking.connected(url) for _ in range(connections)]
    try:
        await asyncio.gather(*map(work, open_))
    finally:
        for asking in open_:
            asking.close()
    return [found[number] for number in range(len(bodies))]

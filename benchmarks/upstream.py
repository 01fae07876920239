"""The scripted upstream: an OpenAI-compatible server in a process of its own, so cheap that it is never the bottleneck.

A request's model is `scripted-TOKENS-PACE`: an answer of so many tokens, so many a second, or as fast as it can where
the pace is 0. What it says depends on the request's last message alone, so that whoever asks can tell whether all of
it has arrived. A whole answer comes at once.
"""

import asyncio
import sys
import time
import zlib
from functools import cache, lru_cache
from typing import Any

import httptools
import msgspec
import uvloop

__all__ = ["HARMLESS", "ScriptedServer", "model", "things", "tokens_of"]

HARMLESS = (
    "The museum opens at ten and closes at six. ",
    "Bring a warm coat, because it may rain in the evening. ",
    "You can list all processes with one command. ",
    "My aunt grows tomatoes on her balcony. ",
    "The train leaves from platform four. ",
    "Stir the sauce until it is thick, then add the pasta. ",
    "A triangle has three sides. ",
    "Let me know whether this helps you. ",
)
"""Sentences that no policy objects to."""
LONGEST = 8
"""Characters of a word that are one token; a longer word is two, as tokenizers have it."""
THINGS = (
    *("lamp", "chair", "table", "window", "garden", "river", "bridge", "basket"),
    *("kettle", "ladder", "pencil", "bottle", "carpet", "mirror", "button", "pillow"),
)
_JSON = msgspec.json.Encoder()


class _Asked(msgspec.Struct):
    """What of a request decides its answer."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = False


_DECODER = msgspec.json.Decoder(_Asked)


def model(tokens: int, pace: int) -> str:
    """The name under which an answer of `tokens` comes with `pace` tokens a second; 0 is no pace at all."""
    return f"scripted-{tokens}-{pace}"


def things(number: int) -> list[str]:
    """Five words that stand for a number below a million. Digits would be somebody's telephone number now and then."""
    return [THINGS[number >> shift & 15] for shift in range(0, 20, 4)]


def tokens_of(prompt: str, count: int) -> list[str]:
    """The answer to a prompt, at least six tokens. Another prompt has other words at its beginning, and goes on with
    another sentence."""
    seed = zlib.crc32(prompt.encode())
    *most, last = things(seed % 2**20)
    return ["Listed: ", *[f"{thing}, " for thing in most], f"{last}. ", *_body(seed % len(HARMLESS), count - 6)]


@cache
def _body(first: int, count: int) -> list[str]:
    tokens: list[str] = []
    while len(tokens) < count:
        tokens += _split(HARMLESS[first])
        first = (first + 1) % len(HARMLESS)
    return tokens[:count]


def _split(sentence: str) -> list[str]:
    words = [f"{word} " for word in sentence.split()]
    return [part for word in words for part in (word[:LONGEST], word[LONGEST:]) if part]


@lru_cache(4_096)
def _chunk(choice: bytes) -> bytes:
    """One choice as an event, and the event as a part of a chunked body."""
    event = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"scripted",'
        b'"choices":[{"index":0,' + choice + b"}]}\n\n"
    )
    return b"%x\r\n%b\r\n" % (len(event), event)


def _events(tokens: list[str]) -> list[bytes]:
    """A stream as OpenAI's server sends it: the role, the tokens, the end."""
    said = [_chunk(b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null')]
    for token in tokens:
        said.append(_chunk(b'"delta":{"content":%b},"logprobs":null,"finish_reason":null' % _JSON.encode(token)))
    said.append(_chunk(b'"delta":{},"logprobs":null,"finish_reason":"stop"') + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    return said


def _whole(tokens: list[str]) -> bytes:
    count = len(tokens)
    message = {"role": "assistant", "content": "".join(tokens), "refusal": None}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": count, "total_tokens": 30 + count},
    }
    return _JSON.encode(answer)


class ScriptedServer(asyncio.Protocol):
    """One connection. Its requests come one after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()
        self._next: asyncio.Handle | None = None
        self._left: list[bytes] = []
        self._paused = False
        self._begun = 0.0
        self._told = 0
        self._pace = 0

    def tokens(self, prompt: str, count: int) -> list[str]:
        """What is said to a prompt."""
        return tokens_of(prompt, count)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._parser.feed_data(data)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._paused = False
        if self._left and self._next is None:
            self._go_on()

    def on_body(self, body: bytes) -> None:
        """See `httptools.HttpRequestParser`."""
        self._body += body

    def on_message_complete(self) -> None:
        """See `httptools.HttpRequestParser`."""
        body, self._body = bytes(self._body), bytearray()
        if not body:
            self._send(b"200 OK", b'{"object":"list","data":[{"id":"scripted","object":"model"}]}')
            return
        try:
            asked = _DECODER.decode(body)
            _, count, pace = asked.model.split("-")
            prompt = _text(asked.messages[-1])
            tokens, self._pace = self.tokens(prompt, int(count)), int(pace)
        except (msgspec.MsgspecError, ValueError, IndexError):
            self._send(b"400 Bad Request", b'{"error":{"message":"expected messages, and model scripted-TOKENS-PACE"}}')
            return
        if not asked.stream:
            self._send(b"200 OK", _whole(tokens))
            return
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self._left = _events(tokens)[::-1]
        self._begun, self._told = time.perf_counter(), 0
        self._go_on()

    def _send(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)

    def _go_on(self) -> None:
        """The next event, or all that are due by now: whoever was late must not slow the stream down."""
        self._next = None
        due = int((time.perf_counter() - self._begun) * self._pace) + 1
        now = 1 if not self._pace else max(0, min(due - self._told, len(self._left)))
        if now:
            self._transport.write(b"".join([self._left.pop() for _ in range(now)]))
            self._told += now
        if not self._left or self._paused:
            return
        if self._pace:
            wait = self._begun + self._told / self._pace - time.perf_counter()
            self._next = self._loop.call_later(max(0.0, wait), self._go_on)
        else:
            # Each event is a write of its own, as a server's are.
            self._next = self._loop.call_soon(self._go_on)


def _text(message: dict[str, Any]) -> str:
    content = message.get("content", "")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(ScriptedServer, "127.0.0.1", port, backlog=1_024)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1])))

"""The clients of the soak: they go to the other replica where one does not let them in, and note what came."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Self

import aiohttp
import msgspec

from benchmarks.soaking.traffic import Ask

__all__ = ["Client", "Done", "Streamed", "streamed"]

_LEAVES_AFTER = 0.03
_TIMEOUT = 60.0


class Done(msgspec.Struct):
    """What came of a request at one replica. Times are in seconds since the soak's beginning.

    `outcome` is the status where that is all that there is to say, else a word more: `502 upstream_closed`,
    `stream upstream_closed` (an error after the stream's beginning), `refused` (no connection), `dropped` (the answer
    did not come to its end), `late`, `left` (the client did). `again`: the client then asked the other replica.
    """

    ask: Ask
    replica: int
    began: float
    ended: float = 0.0
    first: float = 0.0
    outcome: str = ""
    body: bytes = b""
    again: bool = False

    @property
    def expected(self) -> bool:
        """Whether it is what the request gets when nothing is wrong."""
        return self.outcome == ("left" if self.ask.manner == "leaves" else str(self.ask.status))


class Streamed(msgspec.Struct):
    """A stream put together: its text without a refusal, how it ended, the `guard` of its last chunk."""

    text: str = ""
    finish: str = ""
    error: str = ""
    guard: dict[str, Any] | None = None
    whole: bool = False


def streamed(body: bytes) -> Streamed:
    """A stream's body, read."""
    found = Streamed()
    # What stands behind the last empty line has not come whole.
    for event in body.split(b"\n\n")[:-1]:
        data = event.removeprefix(b"data: ")
        if data == b"[DONE]":
            found.whole = True
        elif event.startswith(b"data: {"):
            _read(msgspec.json.decode(data), found)
    return found


def _read(chunk: dict[str, Any], found: Streamed) -> None:
    if "error" in chunk:
        found.error = str(chunk["error"].get("code") or chunk["error"].get("type"))
    found.guard = chunk.get("guard", found.guard)
    for choice in chunk.get("choices", ()):
        found.finish = choice.get("finish_reason") or found.finish
        if not choice["delta"].get("refusal"):
            found.text += choice["delta"].get("content") or ""


class Client:
    """Sends requests to the replicas in turn; `done` has all that came of them."""

    def __init__(self, urls: Sequence[str], keys: dict[str, str], begun: float) -> None:
        self.done: list[Done] = []
        self.open = 0
        self._urls = urls
        self._keys = keys
        self._begun = begun

    async def __aenter__(self) -> Self:
        # Shorter than the server's, or it closes a connection that is just being used.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=1.0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def now(self) -> float:
        """Seconds since the soak's beginning."""
        return time.perf_counter() - self._begun

    async def send(self, ask: Ask, replica: int | None = None) -> Done:
        """Asks one replica, the one with this number or by turns; then the other, where it does not answer."""
        first = ask.number % 2 if replica is None else replica
        self.open += 1
        try:
            for number in (first, 1 - first):
                done = Done(ask, number, self.now())
                await self._tried(done)
                done.ended = self.now()
                self.done.append(done)
                done.again = number == first and done.outcome in ("refused", "dropped") and not done.body
                if not done.again:
                    break
        finally:
            self.open -= 1
        return done

    async def _tried(self, done: Done) -> None:
        try:
            if done.ask.manner == "dribbles":
                await self._dribbled(done)
            elif done.ask.manner == "leaves":
                await self._left(done)
            else:
                await self._asked(done)
        except aiohttp.ClientConnectorError:
            done.outcome = "refused"
        except TimeoutError:
            done.outcome = "late"
        except (aiohttp.ClientError, OSError):
            done.outcome = "dropped"

    def _headers(self, ask: Ask) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if ask.key:
            headers["Authorization"] = f"Bearer {self._keys[ask.key]}"
        if ask.policy:
            headers["X-Guard-Policy"] = ask.policy
        return headers

    async def _asked(self, done: Done) -> None:
        ask = done.ask
        url = self._urls[done.replica] + ask.path
        async with self._session.post(url, data=ask.body, headers=self._headers(ask)) as response:
            parts = []
            try:
                async for part in response.content.iter_any():
                    done.first = done.first or self.now()
                    parts.append(part)
                    if ask.manner == "reads_slowly":
                        await asyncio.sleep(0.02)
            finally:
                # Also what had come of an answer that broke off: nobody asks for it again.
                done.body = b"".join(parts)
            done.outcome = _outcome(response.status, response.headers, done.body)

    async def _left(self, done: Done) -> None:
        """Leaves a stream after its first words, anything else after a moment."""
        ask = done.ask
        url = self._urls[done.replica] + ask.path
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10.0 if b'"stream":true' in ask.body else _LEAVES_AFTER):
                async with self._session.post(url, data=ask.body, headers=self._headers(ask)) as response:
                    done.body = await response.content.readany()
                    if response.status != 200:
                        done.outcome = _outcome(response.status, response.headers, done.body)
                    response.close()
        done.outcome = done.outcome or "left"

    async def _dribbled(self, done: Done) -> None:
        """Sends head and body in pieces, a tenth of a second apart."""
        ask = done.ask
        host, port = self._urls[done.replica].removeprefix("http://").split(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            done.outcome = "refused"
            return
        try:
            lines = [
                f"POST {ask.path} HTTP/1.1",
                "Host: guard",
                f"Content-Length: {len(ask.body)}",
                "Connection: close",
            ]
            lines += [f"{name}: {value}" for name, value in self._headers(ask).items()]
            sent = "\r\n".join(lines).encode() + b"\r\n\r\n" + ask.body
            size = len(sent) // 12 + 1
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await asyncio.sleep(0.1)
            async with asyncio.timeout(_TIMEOUT):
                head, _, done.body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        done.outcome = head.split(b" ")[1].decode() if head else "dropped"


def _outcome(status: int, headers: Any, body: bytes) -> str:
    """A status, or what else is to be said of an answer."""
    if status == 200 and str(headers.get("Content-Type", "")).startswith("text/event-stream"):
        found = streamed(body)
        return f"stream {found.error}" if found.error else "200" if found.whole else "dropped"
    if status == 429 and "Retry-After" not in headers:
        return "429 without Retry-After"
    if status < 500:
        return str(status)
    try:
        problem = msgspec.json.decode(body)
        code = problem["error"]["code"] if "error" in problem else str(problem["type"]).rpartition(":")[2]
    except (msgspec.MsgspecError, KeyError, TypeError):
        code = "without a problem"
    return f"{status} {code}"

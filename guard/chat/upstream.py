"""Who answers: OpenAI-compatible servers, by name and by the models that they have."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Literal, Protocol

import aiohttp
import msgspec

from guard.chat.sse import frames
from guard.errors import UpstreamFailed, UpstreamRefused

__all__ = ["RemoteUpstream", "Upstream", "Upstreams"]

_MOST_BODY = 64 * 1_024 * 1_024
_FORWARDED = ("openai-organization", "openai-project", "traceparent")

SystemRole = Literal["system", "developer", "none"]


class Upstream(Protocol):
    """One source of answers.

    Both calls raise UpstreamRefused with the server's own answer where it does not want the request, UpstreamFailed
    where it cannot be reached, is too slow, or says what is no answer. Cancelling them, or closing the iterator, ends
    the upstream's work.
    """

    name: str
    system_role: SystemRole

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """A whole answer."""

    def stream(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[dict[str, Any]]:
        """An answer's chunks."""

    async def models(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """Its models, as OpenAI lists them."""

    async def close(self) -> None:
        """Gives back connections."""


class RemoteUpstream:
    """A server. Without a `key` of its own the client's `Authorization` goes along."""

    def __init__(
        self, name: str, url: str, *, key: str = "", timeout: float = 600.0, system_role: SystemRole = "system"
    ) -> None:
        self.name = name
        self.system_role: SystemRole = system_role
        self._root = url.rstrip("/")
        if not self._root.endswith("/v1"):
            self._root += "/v1"
        self._key = key
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """See `Upstream`."""
        try:
            async with self._asked(body, headers) as response:
                return await _whole(response)
        except (aiohttp.ClientError, OSError) as exc:
            raise self._failed(exc) from exc

    async def stream(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[dict[str, Any]]:
        """See `Upstream`."""
        try:
            async with self._asked(body, headers) as response:
                if response.status != 200 or not response.content_type.startswith("text/event-stream"):
                    # A whole answer where a stream was asked for is as wrong as an error.
                    await _whole(response, error=True)
                async with aclosing(frames(response.content.iter_any())) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except (aiohttp.ClientError, OSError) as exc:
            raise self._failed(exc) from exc

    async def models(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """See `Upstream`."""
        try:
            async with self._connected().get(f"{self._root}/models", headers=self._headers(headers)) as response:
                listed = (await _whole(response)).get("data")
        except (aiohttp.ClientError, OSError) as exc:
            raise self._failed(exc) from exc
        return [model for model in listed if isinstance(model, dict)] if isinstance(listed, list) else []

    async def close(self) -> None:
        """See `Upstream`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _asked(
        self, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._connected().post(
            f"{self._root}/chat/completions",
            data=msgspec.json.encode(body),
            headers=self._headers(headers),
            allow_redirects=False,
        )

    def _headers(self, given: Mapping[str, str]) -> dict[str, str]:
        kept = {name: given[name] for name in _FORWARDED if name in given}
        authorization = f"Bearer {self._key}" if self._key else given.get("authorization", "")
        if authorization:
            kept["Authorization"] = authorization
        # A compressed stream waits for its compressor.
        return kept | {"Content-Type": "application/json", "Accept-Encoding": "identity"}

    def _failed(self, exc: Exception) -> UpstreamFailed:
        if isinstance(exc, TimeoutError) and not isinstance(exc, aiohttp.ConnectionTimeoutError):
            return UpstreamFailed(
                f"the upstream `{self.name}` said nothing for {self._timeout:g} s", code="upstream_timeout", status=504
            )
        return UpstreamFailed(
            f"the upstream `{self.name}` cannot be reached or broke off ({type(exc).__name__})", code="upstream_closed"
        )

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, connect=10.0, sock_read=self._timeout),
                connector=aiohttp.TCPConnector(limit=0),
                # A slow reader must slow the upstream down: what waits here is bounded.
                read_bufsize=64 * 1_024,
            )
        return self._session


class Upstreams:
    """All of them; a request's `model` says which: `NAME/MODEL`, one that is listed for it, else the first."""

    def __init__(self, upstreams: Sequence[Upstream], models: Mapping[str, Sequence[str]]) -> None:
        self._all = list(upstreams)
        self._named = {upstream.name: upstream for upstream in upstreams}
        self._by_model = {model: self._named[name] for name, listed in models.items() for model in listed}

    def __bool__(self) -> bool:
        return bool(self._all)

    def of(self, model: str) -> tuple[Upstream, str]:
        """The upstream for a model, and the model's name there."""
        name, slash, rest = model.partition("/")
        if slash and name in self._named and len(self._all) > 1:
            return self._named[name], rest
        return self._by_model.get(model, self._all[0]), model

    async def models(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """The models of all that answer; of several upstreams as `NAME/MODEL`.

        Raises:
            UpstreamFailed, UpstreamRefused: none answers; that of the first.
        """
        told = await asyncio.gather(*[one.models(headers) for one in self._all], return_exceptions=True)
        failures = [said for said in told if isinstance(said, BaseException)]
        if len(failures) == len(told):
            raise failures[0]
        several = len(self._all) > 1
        return [
            model | {"id": f"{one.name}/{model.get('id')}"} if several else model
            for one, said in zip(self._all, told, strict=True)
            if not isinstance(said, BaseException)
            for model in said
        ]

    async def close(self) -> None:
        """Closes all."""
        for upstream in self._all:
            await upstream.close()


async def _whole(response: aiohttp.ClientResponse, *, error: bool = False) -> dict[str, Any]:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > _MOST_BODY:
            raise UpstreamFailed(f"the upstream's answer is larger than {_MOST_BODY} bytes")
    if response.status != 200:
        raise UpstreamRefused(response.status, bytes(body), response.headers.get("Retry-After", ""))
    try:
        found: dict[str, Any] = msgspec.json.decode(bytes(body), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise UpstreamFailed("the upstream's answer is no JSON object", code="upstream_malformed") from exc
    if error:
        raise UpstreamFailed("the upstream sent no stream where one was asked for", code="upstream_malformed")
    return found

"""An upstream that tells how each of its answers went, and that knows the trace which it is asked in."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from guard.chat.conversation import speaks
from guard.chat.upstream import SystemRole, Upstream
from guard.errors import UpstreamFailed, UpstreamRefused
from guard.telemetry import Listener, UpstreamDone, UpstreamOutcome, traced

__all__ = ["WatchedUpstream"]


class WatchedUpstream:
    """Another upstream, with an event and a span for every answer that it was asked for. Implements `Upstream`."""

    def __init__(self, upstream: Upstream, listener: Listener) -> None:
        self._upstream = upstream
        self._listener = listener
        self.name = upstream.name
        self.system_role: SystemRole = upstream.system_role

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """See `Upstream`."""
        started = time.perf_counter()
        # Whoever cancels this goes past every `except` below.
        outcome: UpstreamOutcome = "abandoned"
        span = traced("upstream", calls=True)
        try:
            answer = await self._upstream.complete(body, {**headers, **span.headers()})
            outcome = "ok"
        except Exception as exc:
            outcome = _outcome(exc)
            raise
        finally:
            with span:
                self._listener.on_event(UpstreamDone(self.name, outcome, time.perf_counter() - started))
        return answer

    async def stream(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[dict[str, Any]]:
        """See `Upstream`."""
        started = time.perf_counter()
        first_token: float | None = None
        outcome: UpstreamOutcome = "abandoned"
        # Entered only at its end: what a generator opens would stay open for whoever reads it.
        span = traced("upstream", calls=True)
        try:
            async with aclosing(self._upstream.stream(body, {**headers, **span.headers()})) as chunks:
                async for chunk in chunks:
                    if first_token is None and speaks(chunk):
                        first_token = time.perf_counter() - started
                    yield chunk
            outcome = "ok"
        except Exception as exc:
            outcome = _outcome(exc)
            raise
        finally:
            with span:
                self._listener.on_event(UpstreamDone(self.name, outcome, time.perf_counter() - started, first_token))

    async def models(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """See `Upstream`."""
        with traced("upstream models", calls=True) as span:
            return await self._upstream.models({**headers, **span.headers()})

    async def close(self) -> None:
        """See `Upstream`."""
        await self._upstream.close()


def _outcome(exc: Exception) -> UpstreamOutcome:
    if isinstance(exc, UpstreamRefused):
        return "refused"
    return "timeout" if isinstance(exc, UpstreamFailed) and exc.code == "upstream_timeout" else "failed"

"""Spans: the parts of a traced request's way, opened where the work is by `with traced("screen"):`.

A span belongs to the one that is open around it, in the same task or in the one that began it. Where nothing is
recorded it costs a look-up. Who records (`guard.telemetry.otlp`) is chosen when the service starts.

What spans say are numbers, kinds of errors and words of our own: what `facts_of` makes of events, and what `put` and
`failed` are given where the work is. Nothing that a client wrote is among them.
"""

from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple, Protocol

from guard.telemetry.events import (
    AccessRefused,
    Event,
    ModerationDone,
    ModerationFailed,
    RailDone,
    RequestDone,
    StreamBegun,
    UpstreamDone,
)
from guard.verdict import Action

__all__ = [
    "OPEN_SPAN",
    "UNTRACED",
    "Fact",
    "Facts",
    "TraceListener",
    "TraceSpan",
    "Tracer",
    "Unrecorded",
    "facts_of",
    "traced",
]

Fact = str | int | float | bool

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


class TraceSpan(Protocol):
    """One part of a request's way, from when it is opened until the `with` around it ends.

    Inside of the `with` it is the open one: what is opened there belongs to it. What the `with` ends by gives it the
    kind of error, never the message. One that is only entered at its end still lasts from when it was opened.
    """

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty where nothing is recorded."""

    def __enter__(self) -> "TraceSpan": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def child(self, name: str, *, calls: bool = False) -> "TraceSpan":
        """A span that belongs to this one; `calls`: somebody else does the work."""

    def put(self, name: str, value: Fact) -> None:
        """Notes something; never anything that a client wrote."""

    def told(self, event: Event) -> None:
        """Notes what an event says (`facts_of`)."""

    def failed(self, kind: str) -> None:
        """Marks it as failed. Of several kinds the first counts."""

    def headers(self) -> dict[str, str]:
        """What a server that is called needs to go on with the trace (W3C Trace Context); empty where there is none."""


class Tracer(Protocol):
    """Opens the first span of each request."""

    def begin(self, traceparent: bytes) -> TraceSpan:
        """The span of a request that came with this header; empty where it came with none."""

    async def close(self) -> None:
        """Sends what waits, within a bounded time."""


class Unrecorded:
    """A span of which nothing is kept. Implements `TraceSpan`."""

    __slots__ = ()

    @property
    def trace_id(self) -> str:
        """See `TraceSpan`."""
        return ""

    def __enter__(self) -> TraceSpan:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def child(self, name: str, *, calls: bool = False) -> TraceSpan:
        """See `TraceSpan`."""
        return self

    def put(self, name: str, value: Fact) -> None:
        """See `TraceSpan`."""

    def told(self, event: Event) -> None:
        """See `TraceSpan`."""

    def failed(self, kind: str) -> None:
        """See `TraceSpan`."""

    def headers(self) -> dict[str, str]:
        """See `TraceSpan`."""
        return {}


UNTRACED = Unrecorded()
"""The span of what is not traced."""

OPEN_SPAN: ContextVar[TraceSpan] = ContextVar("span", default=UNTRACED)
"""The span that is open here."""


def traced(name: str, *, calls: bool = False) -> TraceSpan:
    """Opens a span in the one that is open here; `calls`: somebody else does the work."""
    return OPEN_SPAN.get().child(name, calls=calls)


class TraceListener:
    """Tells each event to the span that is open where it happens."""

    def on_event(self, event: Event) -> None:
        OPEN_SPAN.get().told(event)


class Facts(NamedTuple):
    """What a span says: attributes by name, the kind of error, and a better name for it."""

    attributes: dict[str, Fact]
    error: str = ""
    name: str = ""


def facts_of(event: Event) -> Facts | None:
    """What an event says of the span that it happens in; None of one that says nothing.

    HTTP's names are those of OpenTelemetry's semantic conventions; of what they ask for, path and addresses are left
    out, because a client or a deployment wrote them.
    """
    match event:
        case RequestDone():
            return _of_request(event)
        case ModerationDone():
            return _of_moderation(event)
        case ModerationFailed():
            return Facts({"guard.failed_texts": event.texts}, f"{event.stage}_failed")
        case AccessRefused():
            return Facts({"guard.refused": event.reason})
        case RailDone():
            return Facts({"guard.policy": event.policy, "guard.rail": event.rail, "guard.action": event.action})
        case StreamBegun():
            return Facts({"guard.first_words_seconds": event.seconds})
        case UpstreamDone():
            told: dict[str, Fact] = {"guard.upstream": event.upstream, "guard.outcome": event.outcome}
            if event.first_token is not None:
                told["guard.first_token_seconds"] = event.first_token
            return Facts(told, "" if event.outcome in ("ok", "abandoned") else event.outcome)
        case _:
            return None


def _of_request(event: RequestDone) -> Facts:
    method = event.method if event.method in _METHODS else "_OTHER"
    told: dict[str, Fact] = {"http.request.method": method, "http.response.status_code": event.status}
    name = "HTTP" if method == "_OTHER" else method
    if event.route != "unmatched":
        told["http.route"] = event.route
        name = f"{name} {event.route}"
    # A client's mistake is no error of the server's.
    return Facts(told, str(event.status) if event.status >= 500 else "", name)


def _of_moderation(event: ModerationDone) -> Facts:
    verdicts = event.verdicts
    told: dict[str, Fact] = {
        "guard.policy": event.policy,
        "guard.policy_fingerprint": event.fingerprint,
        "guard.rail": event.rail,
        "guard.texts": len(verdicts),
        "guard.cached": sum([verdict.cached for verdict in verdicts]),
        "guard.judged": event.judged,
        "guard.judge_tokens": event.judge_tokens,
        "guard.degraded": sum([verdict.degraded for verdict in verdicts]),
        "guard.partial": event.partial,
    }
    if verdicts:
        told["guard.action"] = max([verdict.action for verdict in verdicts], key=Action.of)
    return Facts(told)

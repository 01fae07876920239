"""Traces by OpenTelemetry, sent as OTLP over HTTP. The one module that knows OpenTelemetry; needs the extra `otel`.

Only requests that are recorded have spans of OpenTelemetry's: all others carry their ids along, for servers that are
called, and nothing else. Spans that have ended wait, at most `MOST_WAITING`, and leave in batches from a thread of
their own. A collector that is slow or dead loses spans: they are counted, and no request waits for it.
"""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Sequence
from contextvars import Token
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Tracer as OTelTracer

from guard import __version__
from guard.errors import ConfigError
from guard.telemetry.events import CollectorChanged, CollectorState, Event, Listener, SpansDone
from guard.telemetry.sampling import Came, Sampling, came
from guard.telemetry.traces import OPEN_SPAN, Fact, TraceSpan, Unrecorded, facts_of

__all__ = ["OtlpTracer", "address"]

MOST_SPANS = 256
"""Spans of one request; a long stream has more checks than anybody would look at."""
MOST_WAITING = 4_096
"""Spans that wait to be sent; those that end meanwhile are dropped."""
CLOSE_SECONDS = 3.0
"""How long a stop waits for the collector."""
_PATH = "/v1/traces"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_CONTEXT = Context()


class OtlpTracer:
    """Records the requests that `sampling` chooses. Implements `Tracer`.

    OpenTelemetry's own variables hold as well: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, those of the exporter
    (OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _TIMEOUT, _COMPRESSION), and of batches (OTEL_BSP_SCHEDULE_DELAY,
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE).

    Raises:
        ConfigError: the address is none, or one of those variables has a bad value.
    """

    def __init__(self, endpoint: str, sampling: Sampling, listener: Listener) -> None:
        session = _Session()
        try:
            exporter = _Exporter(OTLPSpanExporter(address(endpoint), session=session), session, listener)
            self._outgoing = _Outgoing(exporter, listener)
            named = {"service.name": "guard", "service.version": __version__}
            resource = Resource.create({**named, **OTELResourceDetector().detect().attributes})
            provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        except ValueError as exc:
            raise ConfigError(f"GUARD_OTLP_ENDPOINT is set, and one of the OTEL_* variables is wrong: {exc}") from exc
        provider.add_span_processor(self._outgoing)
        self._tracer = provider.get_tracer("guard", __version__)
        self._sampling = sampling
        # What it says of each batch that fails is told as events: once, and as a number.
        for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def begin(self, traceparent: bytes) -> TraceSpan:
        """See `Tracer`."""
        parent = came(traceparent) if traceparent else None
        if not self._sampling.records(parent):
            return _Unsampled(parent)
        context = _NO_CONTEXT
        if parent is not None:
            # Its `tracestate` is left behind: what stands there is anybody's.
            there = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=_SAMPLED)
            context = set_span_in_context(NonRecordingSpan(there), _NO_CONTEXT)
        first = self._tracer.start_span("HTTP", context, SpanKind.SERVER)
        return _Recorded(first, _Trace(self._tracer, first))

    async def close(self) -> None:
        """Sends what waits, for `CLOSE_SECONDS` at most."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._outgoing.send_all()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(sent.set)

        # Nothing that the process would wait for at its end.
        threading.Thread(target=send, name="last-spans", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await sent.wait()
        except TimeoutError:
            self._outgoing.give_up()


class _Unsampled(Unrecorded):
    """A request that is not recorded. Servers that are called learn it: they would begin traces of their own."""

    __slots__ = ("_parent",)

    def __init__(self, parent: Came | None) -> None:
        self._parent = parent

    def headers(self) -> dict[str, str]:
        """See `TraceSpan`."""
        if self._parent is None:
            ids = random.getrandbits(128) or 1, random.getrandbits(64) or 1
            self._parent = Came(f"{ids[0]:032x}", f"{ids[1]:016x}", sampled=False)
        return {"traceparent": f"00-{self._parent.trace_id}-{self._parent.span_id}-00"}


class _Trace:
    """What the spans of one request share."""

    __slots__ = ("_first", "_left_out", "_spans", "_tracer")

    def __init__(self, tracer: OTelTracer, first: Span) -> None:
        self._tracer = tracer
        self._first = first
        self._spans = 1
        self._left_out = 0

    def started(self, name: str, parent: Span, kind: SpanKind) -> Span | None:
        """One span more; None where there are enough. The first span tells how many were left out."""
        if self._spans >= MOST_SPANS:
            self._left_out += 1
            self._first.set_attribute("guard.spans_left_out", self._left_out)
            return None
        self._spans += 1
        return self._tracer.start_span(name, set_span_in_context(parent, _NO_CONTEXT), kind)


class _Recorded:
    """A span that will be sent. Implements `TraceSpan`."""

    __slots__ = ("_failed", "_span", "_token", "_trace")

    def __init__(self, span: Span, trace: _Trace) -> None:
        self._span = span
        self._trace = trace
        self._failed = False
        self._token: Token[TraceSpan] | None = None

    @property
    def trace_id(self) -> str:
        """See `TraceSpan`."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def __enter__(self) -> TraceSpan:
        self._token = OPEN_SPAN.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            OPEN_SPAN.reset(self._token)
        if kind is not None:
            if issubclass(kind, asyncio.CancelledError | GeneratorExit):
                # Nobody wanted it any more: no failure.
                self.put("guard.abandoned", True)
            else:
                self.failed(kind.__name__.lstrip("_"))
        self._span.end()

    def child(self, name: str, *, calls: bool = False) -> TraceSpan:
        """See `TraceSpan`."""
        started = self._trace.started(name, self._span, SpanKind.CLIENT if calls else SpanKind.INTERNAL)
        return _LeftOut(self) if started is None else _Recorded(started, self._trace)

    def put(self, name: str, value: Fact) -> None:
        """See `TraceSpan`."""
        self._span.set_attribute(name, value)

    def told(self, event: Event) -> None:
        """See `TraceSpan`."""
        facts = facts_of(event)
        if facts is None:
            return
        self._span.set_attributes(facts.attributes)
        if facts.name:
            self._span.update_name(facts.name)
        if facts.error:
            self.failed(facts.error)

    def failed(self, kind: str) -> None:
        """See `TraceSpan`."""
        if not self._failed:
            self._failed = True
            self._span.set_attribute("error.type", kind)
            self._span.set_status(StatusCode.ERROR)

    def headers(self) -> dict[str, str]:
        """See `TraceSpan`."""
        own = self._span.get_span_context()
        return {"traceparent": f"00-{own.trace_id:032x}-{own.span_id:016x}-01"}


class _LeftOut(Unrecorded):
    """A span too many: what is called inside of it belongs to the one around it."""

    __slots__ = ("_around",)

    def __init__(self, around: TraceSpan) -> None:
        self._around = around

    def headers(self) -> dict[str, str]:
        """See `TraceSpan`."""
        return self._around.headers()


class _Session(requests.Session):
    """Connections to the collector. `said`: what came of the last call, a status or a kind of error."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def request(self, *args: Any, **more: Any) -> requests.Response:
        """See `requests.Session`."""
        try:
            response = super().request(*args, **more)
        except Exception as exc:
            self.said = type(exc).__name__
            raise
        self.said = str(response.status_code)
        return response


class _Exporter(SpanExporter):
    """Tells what came of each batch. `gone`: spans that were sent or given up."""

    def __init__(self, exporter: SpanExporter, session: _Session, listener: Listener) -> None:
        self.gone = 0
        self._exporter = exporter
        self._session = session
        self._listener = listener
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            # A redirection is taken for an answer there; it is followed nowhere.
            self._told(len(spans), sent=result is SpanExportResult.SUCCESS and self._session.said.startswith("2"))
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def _told(self, spans: int, *, sent: bool) -> None:
        self.gone += spans
        self._listener.on_event(SpansDone("sent" if sent else "failed", spans))
        if sent is self._failing:
            self._failing = not sent
            state: CollectorState = "answering" if sent else "failing"
            self._listener.on_event(CollectorChanged(state, "" if sent else self._session.said))


class _Outgoing(BatchSpanProcessor):
    """The spans that wait. What does not find room is dropped here, where it can be counted."""

    def __init__(self, exporter: _Exporter, listener: Listener) -> None:
        super().__init__(exporter, max_queue_size=MOST_WAITING)
        self._exporter = exporter
        self._listener = listener
        self._taken = 0

    def on_end(self, span: ReadableSpan) -> None:
        """See `SpanProcessor`. For one thread: that of the event loop."""
        # Two numbers that only grow, each in a thread of its own, need no lock.
        if self._taken - self._exporter.gone >= MOST_WAITING:
            self._listener.on_event(SpansDone("dropped", 1))
            return
        self._taken += 1
        super().on_end(span)

    def send_all(self) -> None:
        """Sends what waits, and takes no more; until the collector has answered, or `give_up`."""
        self.shutdown()  # type: ignore[no-untyped-call]

    def give_up(self) -> None:
        """Ends the waiting for a collector that does not answer."""
        self._exporter.shutdown()


def address(endpoint: str) -> str:
    """Where spans are posted to; raises ConfigError where that is no address."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("GUARD_OTLP_ENDPOINT: give the collector's address, such as http://collector:4318")
    return endpoint if parts.path.endswith(_PATH) else endpoint.rstrip("/") + _PATH

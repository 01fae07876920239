"""A collector on a real socket, that reads OTLP's own protobuf."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.doubles import serving_app

__all__ = ["Collector", "Span", "running_collector"]

KINDS = {Sent.SPAN_KIND_INTERNAL: "internal", Sent.SPAN_KIND_SERVER: "server", Sent.SPAN_KIND_CLIENT: "client"}


class Span(NamedTuple):
    """A span as it was received; ids in hexadecimal digits, times in seconds."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    begun: float
    ended: float
    facts: dict[str, Any]
    failed: bool
    raw: Sent


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


def _read(span: Sent) -> Span:
    facts = {attribute.key: _value(attribute.value) for attribute in span.attributes}
    return Span(
        span.name, KINDS[span.kind], span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
        span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9, facts,
        span.status.code == Status.STATUS_CODE_ERROR, span,
    )  # fmt: skip


@dataclass
class Collector:
    """What came, and how it answers: with `status`, after `delay` seconds."""

    url: str = ""
    status: int = 200
    delay: float = 0.0
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers.append(dict(request.headers))
        await asyncio.sleep(self.delay)
        if self.status == 200:
            self.bodies.append(body)
            for batch in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = {attribute.key: _value(attribute.value) for attribute in batch.resource.attributes}
                self.spans += [_read(span) for scope in batch.scope_spans for span in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(status=self.status, body=answer, content_type="application/x-protobuf")

    def named(self, name: str) -> list[Span]:
        """The spans of a name, as they were opened."""
        return sorted([span for span in list(self.spans) if span.name == name], key=lambda span: span.begun)

    def until(self, holds: Callable[[], bool], seconds: float = 15.0) -> None:
        """Waits for what batches bring."""
        ends = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends, sorted(span.name for span in self.spans)
            time.sleep(0.02)

    def tree(self, trace_id: str) -> dict[str, Any]:
        """The spans of a trace by name, each with those in it; several of a name with the number of each after it."""
        mine = [span for span in list(self.spans) if span.trace_id == trace_id]
        known = {span.span_id for span in mine}

        def under(parent: str) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for span in sorted(mine, key=lambda span: span.begun):
                if span.parent_id == parent or (parent == "" and span.parent_id not in known):
                    name = span.name
                    count = sum(1 for other in found if other.split("#")[0] == name)
                    found[f"{name}#{count + 1}" if count else name] = under(span.span_id)
            return found

        return under("")


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A running collector, with a thread and an event loop of its own."""
    collector = Collector()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/traces", collector.take)
    with serving_app(app) as url:
        collector.url = url.removesuffix("/v1")
        yield collector

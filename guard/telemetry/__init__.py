"""What happened, and who is told of it.

events      what happened, as frozen structs handed to listeners
log         the log: structured lines, never with moderated text
prometheus  counters, latencies, and what is looked up when it is asked for
traces      spans, opened where the work is
sampling    which requests are traced
otlp        who records them: OpenTelemetry, imported only where it is asked for
"""

from guard.telemetry.events import (
    AccessRefused,
    CacheFailed,
    CacheStateChanged,
    CategoryFlip,
    CollectorChanged,
    DropReason,
    Event,
    KeysChanged,
    Listener,
    Listeners,
    ModerationDone,
    ModerationFailed,
    PoliciesChanged,
    RailDone,
    RecordsKept,
    Refusal,
    RequestDone,
    ShadowDone,
    ShadowDropped,
    ShadowOutcome,
    SpansDone,
    Stage,
    StoreFailed,
    StoreOperation,
    StoreStateChanged,
    StreamBegun,
    UpstreamDone,
    UpstreamOutcome,
)
from guard.telemetry.log import REQUEST_ID, LogListener, configure_logging, where
from guard.telemetry.prometheus import Connections, PrometheusListener, Queue
from guard.telemetry.traces import OPEN_SPAN, UNTRACED, TraceListener, Tracer, TraceSpan, traced

__all__ = [
    "OPEN_SPAN",
    "REQUEST_ID",
    "UNTRACED",
    "AccessRefused",
    "CacheFailed",
    "CacheStateChanged",
    "CategoryFlip",
    "CollectorChanged",
    "Connections",
    "DropReason",
    "Event",
    "KeysChanged",
    "Listener",
    "Listeners",
    "LogListener",
    "ModerationDone",
    "ModerationFailed",
    "PoliciesChanged",
    "PrometheusListener",
    "Queue",
    "RailDone",
    "RecordsKept",
    "Refusal",
    "RequestDone",
    "ShadowDone",
    "ShadowDropped",
    "ShadowOutcome",
    "SpansDone",
    "Stage",
    "StoreFailed",
    "StoreOperation",
    "StoreStateChanged",
    "StreamBegun",
    "TraceListener",
    "TraceSpan",
    "Tracer",
    "UpstreamDone",
    "UpstreamOutcome",
    "configure_logging",
    "traced",
    "where",
]

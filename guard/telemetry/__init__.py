"""What happened, and who is told of it.

events      what happened, as frozen structs handed to listeners
log         the log: structured lines, never with moderated text
prometheus  counters, latencies, and what is looked up when it is asked for
"""

from guard.telemetry.events import (
    AccessRefused,
    CacheFailed,
    CacheStateChanged,
    Event,
    KeysChanged,
    Listener,
    Listeners,
    ModerationDone,
    ModerationFailed,
    PoliciesChanged,
    RailDone,
    Refusal,
    RequestDone,
    Stage,
    StreamBegun,
    UpstreamDone,
    UpstreamOutcome,
)
from guard.telemetry.log import REQUEST_ID, LogListener, configure_logging
from guard.telemetry.prometheus import PrometheusListener, Queue

__all__ = [
    "REQUEST_ID",
    "AccessRefused",
    "CacheFailed",
    "CacheStateChanged",
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
    "Refusal",
    "RequestDone",
    "Stage",
    "StreamBegun",
    "UpstreamDone",
    "UpstreamOutcome",
    "configure_logging",
]

"""What happened, and who is told of it.

events      what happened, as frozen structs handed to listeners
log         the log: structured lines, never with moderated text
prometheus  counters and latencies
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
    Refusal,
    RequestDone,
)
from guard.telemetry.log import REQUEST_ID, LogListener, configure_logging
from guard.telemetry.prometheus import PrometheusListener

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
    "Refusal",
    "RequestDone",
    "configure_logging",
]

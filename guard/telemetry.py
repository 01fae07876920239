"""What happened, as frozen events handed to listeners; how it is shown is a listener's business.

No event carries moderated text: that is why none has a field for it.
"""

import logging
import sys
from collections import Counter as Tally
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Literal, Protocol

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from guard.verdict import Verdict

__all__ = [
    "REQUEST_ID",
    "CacheFailed",
    "CacheStateChanged",
    "Event",
    "Listener",
    "Listeners",
    "LogListener",
    "ModerationDone",
    "ModerationFailed",
    "PoliciesChanged",
    "PrometheusListener",
    "RequestDone",
    "configure_logging",
]


REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request that is being served; every log line carries it."""


class ModerationDone(msgspec.Struct, frozen=True, tag=True):
    """One call of the moderator: its verdicts, and seconds spent in it. `partial`: on a text that is still being
    written."""

    policy: str
    fingerprint: str
    rail: str
    verdicts: tuple[Verdict, ...]
    seconds: float
    judged: int
    judge_tokens: int
    partial: bool = False


class ModerationFailed(msgspec.Struct, frozen=True, tag=True):
    """A stage (`screen`, `judge`) did not answer; the policy's failure action was taken."""

    policy: str
    stage: str
    error: str
    texts: int


class PoliciesChanged(msgspec.Struct, frozen=True, tag=True):
    """The policy folder was looked at and differs: swapped in, or kept out with `problems`."""

    accepted: bool
    policies: tuple[str, ...]
    problems: tuple[str, ...] = ()


class RequestDone(msgspec.Struct, frozen=True, tag=True):
    """One HTTP request; `route` is the route's template, never the path that was asked for."""

    route: str
    method: str
    status: int
    seconds: float


class CacheFailed(msgspec.Struct, frozen=True, tag=True):
    """An operation of the shared cache (`get`, `set`) failed: misses, or entries forgotten."""

    operation: Literal["get", "set"]
    error: str


class CacheStateChanged(msgspec.Struct, frozen=True, tag=True):
    """The shared cache is left alone for a while after failures (`open`), or answers again (`closed`)."""

    operation: Literal["get", "set"]
    state: Literal["open", "closed"]
    error: str = ""


Event = ModerationDone | ModerationFailed | PoliciesChanged | RequestDone | CacheFailed | CacheStateChanged


class Listener(Protocol):
    """Something that wants to know. It must be quick and must not raise."""

    def on_event(self, event: Event) -> None:
        """Called once for each event, in order, in the thread where it happened."""


class Listeners:
    """Several listeners as one, told in their order."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = tuple(listeners)

    def on_event(self, event: Event) -> None:
        for listener in self._listeners:
            listener.on_event(event)


def configure_logging(*, level: str, form: Literal["json", "text"]) -> None:
    """Sets up the process's log: one line per event on standard error."""
    minimum = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        structlog.configure(
            processors=[
                *shared,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(_to_json),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(minimum),
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
            wrapper_class=structlog.make_filtering_bound_logger(minimum),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )


def _add_request_id(_: Any, __: str, event: Any) -> Any:
    request_id = REQUEST_ID.get()
    if request_id:
        event["request_id"] = request_id
    return event


def _to_json(event: Any, **_: Any) -> bytes:
    return msgspec.json.encode(event)


class LogListener:
    """Writes events to the log.

    What was not simply allowed is written on level info; allowed texts and requests that went well on
    level debug, for they are the many, and metrics count them.
    """

    def __init__(self, *, debugging: bool = False) -> None:
        self._log = structlog.get_logger("guard")
        self._debugging = debugging

    def on_event(self, event: Event) -> None:
        match event:
            case ModerationDone():
                allowed = all(verdict.action == "allow" for verdict in event.verdicts)
                if allowed and not self._debugging:
                    return
                (self._log.debug if allowed else self._log.info)(
                    "moderation_done",
                    policy=event.policy,
                    fingerprint=event.fingerprint,
                    rail=event.rail,
                    partial=event.partial,
                    texts=len(event.verdicts),
                    actions=dict(Tally([verdict.action for verdict in event.verdicts])),
                    cached=sum([verdict.cached for verdict in event.verdicts]),
                    degraded=sum([verdict.degraded for verdict in event.verdicts]),
                    milliseconds=round(event.seconds * 1e3, 3),
                )
            case ModerationFailed():
                self._log.error(
                    "stage_failed",
                    policy=event.policy,
                    stage=event.stage,
                    error=event.error,
                    texts=event.texts,
                )
            case PoliciesChanged(accepted=True):
                self._log.info("policies_loaded", policies=event.policies)
            case PoliciesChanged():
                self._log.error("policies_rejected", problems=event.problems)
            case RequestDone():
                if event.status < 400 and not self._debugging:
                    return
                (self._log.debug if event.status < 400 else self._log.info)(
                    "request_done",
                    route=event.route,
                    method=event.method,
                    status=event.status,
                    milliseconds=round(event.seconds * 1e3, 3),
                )
            case CacheFailed():
                self._log.debug("cache_failed", operation=event.operation, error=event.error)
            case CacheStateChanged(state="open"):
                self._log.warning("cache_opened", operation=event.operation, error=event.error)
            case CacheStateChanged():
                self._log.info("cache_closed", operation=event.operation)


_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class PrometheusListener:
    """Counts events in a registry of its own.

    Labels are bounded: policies and categories come from files, routes are templates, actions,
    sources and stages are fixed words. Label children are looked up once and kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._verdicts = Counter("guard_verdicts", "Verdicts given", ["policy", "action", "cached"], registry=registry)
        self._violations = Counter(
            "guard_violations",
            "Categories violated",
            ["policy", "category", "action", "source"],
            registry=registry,
        )
        self._degraded = Counter(
            "guard_degraded_verdicts",
            "Verdicts given without a stage that failed",
            ["policy"],
            registry=registry,
        )
        self._moderation = Histogram(
            "guard_moderation_seconds",
            "Time in the moderator, for each call",
            ["policy"],
            registry=registry,
            buckets=_LATENCIES,
        )
        self._checks = Counter(
            "guard_stream_checks",
            "Checks of texts that were still being written",
            ["policy", "action"],
            registry=registry,
        )
        self._judged = Counter("guard_judge_questions", "Questions that the judge answered", registry=registry)
        self._judge_tokens = Counter("guard_judge_tokens", "Tokens that the judge read", registry=registry)
        self._failures = Counter("guard_stage_failures", "Texts that a stage failed on", ["stage"], registry=registry)
        self._loads = Counter("guard_policy_loads", "Looks at a changed policy folder", ["accepted"], registry=registry)
        self._policies = Gauge("guard_policies", "Policies in use", registry=registry)
        self._requests = Counter(
            "guard_http_requests", "HTTP requests", ["route", "method", "status"], registry=registry
        )
        self._latency = Histogram(
            "guard_http_request_seconds",
            "Time from a request's first byte to its answer's last",
            ["route"],
            registry=registry,
            buckets=_LATENCIES,
        )
        self._cache_failures = Counter(
            "guard_cache_failures",
            "Operations of the shared cache that failed",
            ["operation"],
            registry=registry,
        )
        self._cache_open = Gauge(
            "guard_cache_open",
            "1 while the shared cache is left alone after failures",
            ["operation"],
            registry=registry,
        )
        self._children: dict[tuple[Any, ...], Any] = {}

    def on_event(self, event: Event) -> None:
        match event:
            case RequestDone():
                self._child(self._requests, event.route, event.method, str(event.status)).inc()
                self._child(self._latency, event.route).observe(event.seconds)
            case ModerationDone():
                self._moderated(event)
            case ModerationFailed():
                self._child(self._failures, event.stage).inc(event.texts)
            case PoliciesChanged():
                self._child(self._loads, str(event.accepted).lower()).inc()
                if event.accepted:
                    self._policies.set(len(event.policies))
            case CacheFailed():
                self._child(self._cache_failures, event.operation).inc()
            case CacheStateChanged():
                self._child(self._cache_open, event.operation).set(event.state == "open")

    def _moderated(self, event: ModerationDone) -> None:
        self._child(self._moderation, event.policy).observe(event.seconds)
        if event.judged:
            self._judged.inc(event.judged)
            self._judge_tokens.inc(event.judge_tokens)
        for verdict in event.verdicts:
            if event.partial:
                self._child(self._checks, event.policy, verdict.action).inc()
                continue
            self._child(self._verdicts, event.policy, verdict.action, str(verdict.cached).lower()).inc()
            if verdict.degraded:
                self._child(self._degraded, event.policy).inc()
            if verdict.flagged:
                for name, category in verdict.categories.items():
                    if category.violated:
                        self._child(self._violations, event.policy, name, category.action, category.source).inc()

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

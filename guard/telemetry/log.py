"""The log: one line per event on standard error, with the request's id, and its trace's where it is traced."""

import logging
import sys
from collections import Counter as Tally
from contextvars import ContextVar
from typing import Any, Literal

import msgspec
import structlog

from guard.telemetry.events import (
    AccessRefused,
    CacheFailed,
    CacheStateChanged,
    CollectorChanged,
    Event,
    KeysChanged,
    ModerationDone,
    ModerationFailed,
    PoliciesChanged,
    RequestDone,
    StoreFailed,
    StoreStateChanged,
    UpstreamDone,
)
from guard.telemetry.traces import OPEN_SPAN

__all__ = ["REQUEST_ID", "LogListener", "configure_logging"]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request that is being served; every log line carries it."""


def configure_logging(*, level: str, form: Literal["json", "text"]) -> None:
    """Sets up the process's log: one line per event on standard error."""
    minimum = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        _add_ids,
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


def _add_ids(_: Any, __: str, event: Any) -> Any:
    request_id, trace_id = REQUEST_ID.get(), OPEN_SPAN.get().trace_id
    if request_id:
        event["request_id"] = request_id
    if trace_id:
        event["trace_id"] = trace_id
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
            case AccessRefused():
                self._log.info("access_refused", reason=event.reason)
            case KeysChanged():
                self._keys(event)
            case CacheFailed() | CacheStateChanged() | CollectorChanged():
                self._cache(event)
            case StoreFailed() | StoreStateChanged():
                self._store(event)
            case UpstreamDone(outcome="timeout" | "failed"):
                self._log.error(
                    "upstream_failed",
                    upstream=event.upstream,
                    outcome=event.outcome,
                    milliseconds=round(event.seconds * 1e3, 3),
                )

    def _keys(self, event: KeysChanged) -> None:
        if event.problem:
            self._log.error("keys_rejected", problem=event.problem, usable=event.usable)
        else:
            self._log.info("keys_loaded", usable=event.usable)

    def _cache(self, event: CacheFailed | CacheStateChanged | CollectorChanged) -> None:
        match event:
            case CacheFailed():
                self._log.debug("cache_failed", operation=event.operation, error=event.error)
            case CacheStateChanged(state="open"):
                self._log.warning("cache_opened", operation=event.operation, error=event.error)
            case CacheStateChanged():
                self._log.info("cache_closed", operation=event.operation)
            case CollectorChanged(state="failing"):
                self._log.warning("collector_failed", error=event.error)
            case CollectorChanged():
                self._log.info("collector_answers")

    def _store(self, event: StoreFailed | StoreStateChanged) -> None:
        match event:
            case StoreFailed():
                self._log.debug("store_failed", operation=event.operation, error=event.error)
            case StoreStateChanged(problem=""):
                self._log.info("store_works_again")
            case StoreStateChanged():
                self._log.error("store_fails", problem=event.problem)

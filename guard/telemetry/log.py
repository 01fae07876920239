"""The log: one line per event on standard error, with the request's id, and its trace's where it is traced."""

import logging
import re
import sys
import time
from collections import Counter as Tally
from collections.abc import Callable
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
    ShadowDone,
    ShadowDropped,
    StoreFailed,
    StoreStateChanged,
    UpstreamDone,
)
from guard.telemetry.traces import OPEN_SPAN

__all__ = ["REQUEST_ID", "LibraryLines", "LogListener", "configure_logging", "where"]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request that is being served; every log line carries it."""

_AGAIN_SECONDS = 1.0
_MOST_KINDS = 256
_REPRESENTED = re.compile(r"[<({\[].*", flags=re.DOTALL)


def configure_logging(*, level: str, form: Literal["json", "text"]) -> None:
    """Sets up the process's log: one line per event on standard error, also of what libraries warn of."""
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
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, LibraryLines)]:
        root.removeHandler(handler)
    root.addHandler(LibraryLines())


class LibraryLines(logging.Handler):
    """Takes what libraries warn of into the log, as the event `library_warned`.

    A client can make some of them speak, so each kind of line is written once a second at most; `unwritten` says how
    many came since the one before. Only words of the library's own source are shown (of uvicorn, which knows no texts,
    all): what was filled in may be of a text. Of an exception there is the kind and where it was raised.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._log = structlog.get_logger("guard")
        self._due: dict[tuple[str, str], float] = {}
        self._unwritten: Tally[tuple[str, str]] = Tally()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line, or counts it."""
        kind = (record.name, _own_words(record.msg))
        now = self._clock()
        if now < self._due.get(kind, 0.0):
            self._unwritten[kind] += 1
            return
        if len(self._due) >= _MOST_KINDS:
            self._due.clear()
            self._unwritten.clear()
        self._due[kind] = now + _AGAIN_SECONDS
        said = record.getMessage().strip() if record.name.startswith("uvicorn") else kind[1]
        fields: dict[str, Any] = {"logger": record.name, "message": said}
        if unwritten := self._unwritten.pop(kind, 0):
            fields["unwritten"] = unwritten
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields |= {"error": type(error).__name__, "where": where(error)}
        (self._log.error if record.levelno >= logging.ERROR else self._log.warning)("library_warned", **fields)


def _own_words(template: object) -> str:
    """A line's words without what was filled in; asyncio and exceptions fill in before they say it."""
    if isinstance(template, str):
        lines = template.strip().splitlines()
        return _REPRESENTED.sub("", lines[0]).rstrip() if lines else ""
    return type(template).__name__


def where(exc: BaseException) -> list[str]:
    """The last places of an exception's trace; its message could quote a text."""
    places = []
    trace = exc.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-6:]


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
            case CacheFailed() | CacheStateChanged() | CollectorChanged() | StoreFailed() | StoreStateChanged():
                self._elsewhere(event)
            case UpstreamDone(outcome="timeout" | "failed"):
                self._log.error(
                    "upstream_failed",
                    upstream=event.upstream,
                    outcome=event.outcome,
                    milliseconds=round(event.seconds * 1e3, 3),
                )
            case ShadowDone() | ShadowDropped():
                self._shadow(event)

    def _keys(self, event: KeysChanged) -> None:
        if event.problem:
            self._log.error("keys_rejected", problem=event.problem, usable=event.usable)
        else:
            self._log.info("keys_loaded", usable=event.usable)

    def _shadow(self, event: ShadowDone | ShadowDropped) -> None:
        if isinstance(event, ShadowDropped):
            if event.reason == "failed":
                self._log.error("shadow_failed", policy=event.policy, candidate=event.candidate, error=event.error)
        elif event.flips or event.before != event.after:
            self._log.info(
                "shadow_flip",
                policy=event.policy,
                fingerprint=event.fingerprint,
                candidate=event.candidate,
                candidate_fingerprint=event.candidate_fingerprint,
                rail=event.rail,
                number=event.number,
                before=event.before,
                after=event.after,
                categories=[msgspec.to_builtins(flip) for flip in event.flips],
            )

    def _elsewhere(
        self, event: CacheFailed | CacheStateChanged | CollectorChanged | StoreFailed | StoreStateChanged
    ) -> None:
        """What happens to that which Guard keeps things in."""
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
            case StoreFailed():
                self._log.debug("store_failed", operation=event.operation, error=event.error)
            case StoreStateChanged(problem=""):
                self._log.info("store_works_again")
            case StoreStateChanged():
                self._log.error("store_fails", problem=event.problem)

"""Prometheus metrics: of events, counted as they come, and of what is looked up when somebody asks for them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from guard.telemetry.events import (
    AccessRefused,
    CacheFailed,
    CacheStateChanged,
    DropReason,
    Event,
    KeysChanged,
    ModerationDone,
    ModerationFailed,
    PoliciesChanged,
    RailDone,
    RecordsKept,
    Refusal,
    RequestDone,
    ShadowDone,
    ShadowDropped,
    SpansDone,
    Stage,
    StoreFailed,
    StoreOperation,
    StoreStateChanged,
    StreamBegun,
    UpstreamDone,
)

__all__ = ["Connections", "PrometheusListener", "Queue"]

_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STAGES = (0.00005, 0.0001, 0.00025, 0.0005, *_LATENCIES)
_FIRST_TOKENS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Queue(NamedTuple):
    """Something that waits: how many now, and how many may."""

    name: str
    waiting: Callable[[], int]
    room: int


class Connections:
    """How many connections are `open`, how many there is `room` for, and how many were `refused` for want of it.

    Whoever listens counts; one event loop writes, anybody reads.
    """

    __slots__ = ("open", "refused", "room")

    def __init__(self, room: int = 0) -> None:
        self.open = 0
        self.refused = 0
        self.room = room


class _Lookups(Collector):
    """What is not counted but looked up: nothing is to be told while nobody asks."""

    def __init__(
        self,
        queues: Sequence[Queue],
        windows: Callable[[], int],
        streams: Callable[[], int],
        judge_open: Callable[[], bool] | None,
        connections: Connections,
    ) -> None:
        self._connections = connections
        self._queues = queues
        self._windows = windows
        self._streams = streams
        self._judge_open = judge_open

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        waiting = GaugeMetricFamily(
            "guard_queue_waiting",
            "Texts (screen), inquiries (judge), jobs (engine), records (store) in work or waiting",
            labels=["queue"],
        )
        room = GaugeMetricFamily(
            "guard_queue_room", "How many may be in work or wait; past that requests are refused", labels=["queue"]
        )
        for queue in self._queues:
            waiting.add_metric([queue.name], queue.waiting())
            room.add_metric([queue.name], queue.room)
        yield waiting
        yield room
        yield GaugeMetricFamily("guard_connections", "Open connections", value=self._connections.open)
        yield GaugeMetricFamily(
            "guard_connections_room",
            "How many connections there may be; past that new ones are refused",
            value=self._connections.room,
        )
        yield CounterMetricFamily(
            "guard_connections_refused",
            "Connections that were refused for want of room",
            value=self._connections.refused,
        )
        yield CounterMetricFamily(
            "guard_encoder_windows", "Windows of texts that the encoder has read", value=self._windows()
        )
        yield GaugeMetricFamily("guard_chat_streams", "Answers that are being streamed now", value=self._streams())
        yield GaugeMetricFamily(
            "guard_judge_open",
            "1 while the judge's server is left alone after failures; 0 also where there is none",
            value=self._judge_open is not None and self._judge_open(),
        )


class PrometheusListener:
    """Counts events in a registry of its own.

    Labels are bounded: policies and categories come from files, routes are templates, actions,
    sources, stages and outcomes are fixed words, upstreams are named in the settings. Label children are looked up once
    and kept. What has fixed labels is there from the start, with 0: an alert on its growth sees the first one too.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
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
        self._policies_rejected = Gauge(
            "guard_policies_rejected", "1 while a changed policy folder is kept out for a mistake", registry=registry
        )
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
        self._refused = Counter("guard_access_refused", "Requests that were not let in", ["reason"], registry=registry)
        self._keys = Gauge("guard_keys", "API keys that can be used", registry=registry)
        self._keys_rejected = Gauge(
            "guard_keys_rejected", "1 while the file of API keys is kept out for a mistake", registry=registry
        )
        self._cache_failures = Counter(
            "guard_cache_failures",
            "Operations on Redis that failed",
            ["operation"],
            registry=registry,
        )
        self._cache_open = Gauge(
            "guard_cache_open",
            "1 while Redis is left alone after failures",
            ["operation"],
            registry=registry,
        )
        self._stage = Histogram(
            "guard_stage_seconds",
            "Time in one stage of a call of the moderator",
            ["stage"],
            registry=registry,
            buckets=_STAGES,
        )
        self._lookups = Counter("guard_cache_lookups", "Texts looked up in the cache", ["result"], registry=registry)
        self._upstream = Counter(
            "guard_upstream_requests",
            "Chats that an upstream was asked to answer",
            ["upstream", "outcome"],
            registry=registry,
        )
        self._upstream_first = Histogram(
            "guard_upstream_first_token_seconds",
            "Time until the first words of an upstream's stream",
            ["upstream"],
            registry=registry,
            buckets=_FIRST_TOKENS,
        )
        self._rails = Counter(
            "guard_chat_rails", "Sides of chats that were checked", ["policy", "rail", "action"], registry=registry
        )
        self._first = Histogram(
            "guard_chat_first_token_seconds",
            "Time from a prompt's arrival until the first words of its answer may leave",
            ["policy"],
            registry=registry,
            buckets=_FIRST_TOKENS,
        )
        self._spans = Counter(
            "guard_trace_spans", "Spans of traced requests that were to be sent", ["outcome"], registry=registry
        )
        self._records = Counter("guard_store_records", "Records kept", ["policy"], registry=registry)
        self._store_failures = Counter(
            "guard_store_failures", "Operations of the store of records that failed", ["operation"], registry=registry
        )
        self._store_failing = Gauge(
            "guard_store_failing", "1 while the store of records does not take any", registry=registry
        )
        self._shadowed = Counter(
            "guard_shadow_verdicts",
            "Verdicts of a candidate, by how they compare with those that were given",
            ["policy", "candidate", "outcome"],
            registry=registry,
        )
        self._flips = Counter(
            "guard_shadow_flips",
            "Categories whose action is another one under a candidate",
            ["policy", "candidate", "category", "direction"],
            registry=registry,
        )
        self._dropped = Counter(
            "guard_shadow_dropped",
            "Texts that a candidate was not asked about; of `record`, flips that could not be kept",
            ["reason"],
            registry=registry,
        )
        self._children: dict[tuple[Any, ...], Any] = {}
        self._hits, self._misses = self._child(self._lookups, "hit"), self._child(self._lookups, "miss")
        for stage in get_args(Stage):
            self._child(self._stage, stage)
        for stage in ("screen", "judge"):
            self._child(self._failures, stage)
        for reason in get_args(Refusal):
            self._child(self._refused, reason)
        for operation in get_args(StoreOperation):
            self._child(self._store_failures, operation)
        for dropped in get_args(DropReason):
            self._child(self._dropped, dropped)
        for accepted in ("true", "false"):
            self._child(self._loads, accepted)
        for outcome in ("sent", "failed", "dropped"):
            self._child(self._spans, outcome)

    def look_up(
        self,
        *,
        queues: Sequence[Queue],
        windows: Callable[[], int],
        streams: Callable[[], int],
        judge_open: Callable[[], bool] | None,
        connections: Connections,
    ) -> None:
        """Adds what is asked for whenever the metrics are: queues, windows read by the encoder, open streams, whether
        the judge is left alone (None: it cannot be), and connections. Once for a registry; the calls must be quick.
        """
        self._registry.register(_Lookups(queues, windows, streams, judge_open, connections))

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
                self._policies_rejected.set(not event.accepted)
                if event.accepted:
                    self._policies.set(len(event.policies))
            case AccessRefused() | KeysChanged():
                self._access(event)
            case CacheFailed():
                self._child(self._cache_failures, event.operation).inc()
            case CacheStateChanged():
                self._child(self._cache_open, event.operation).set(event.state == "open")
            case UpstreamDone() | RailDone() | StreamBegun():
                self._chat(event)
            case SpansDone():
                self._child(self._spans, event.outcome).inc(event.spans)
            case RecordsKept() | StoreFailed() | StoreStateChanged():
                self._stored(event)
            case ShadowDone() | ShadowDropped():
                self._shadow(event)

    def _access(self, event: AccessRefused | KeysChanged) -> None:
        if isinstance(event, AccessRefused):
            self._child(self._refused, event.reason).inc()
            return
        self._keys.set(event.usable)
        self._keys_rejected.set(bool(event.problem))

    def _stored(self, event: RecordsKept | StoreFailed | StoreStateChanged) -> None:
        match event:
            case RecordsKept():
                self._child(self._records, event.policy).inc(event.records)
            case StoreFailed():
                self._child(self._store_failures, event.operation).inc()
            case StoreStateChanged():
                self._store_failing.set(bool(event.problem))

    def _chat(self, event: UpstreamDone | RailDone | StreamBegun) -> None:
        match event:
            case UpstreamDone():
                self._child(self._upstream, event.upstream, event.outcome).inc()
                if event.first_token is not None:
                    self._child(self._upstream_first, event.upstream).observe(event.first_token)
            case RailDone():
                self._child(self._rails, event.policy, event.rail, event.action).inc()
            case StreamBegun():
                self._child(self._first, event.policy).observe(event.seconds)

    def _shadow(self, event: ShadowDone | ShadowDropped) -> None:
        if isinstance(event, ShadowDropped):
            self._child(self._dropped, event.reason).inc()
            return
        self._child(self._shadowed, event.policy, event.candidate, event.outcome).inc()
        for flip in event.flips:
            self._child(self._flips, event.policy, event.candidate, flip.category, flip.direction).inc()
        if event.judged:
            self._judged.inc(event.judged)
            self._judge_tokens.inc(event.judge_tokens)

    def _moderated(self, event: ModerationDone) -> None:
        self._child(self._moderation, event.policy).observe(event.seconds)
        for stage, seconds in event.stages:
            self._child(self._stage, stage).observe(seconds)
        if not event.partial:
            hits = sum([verdict.cached for verdict in event.verdicts])
            if hits:
                self._hits.inc(hits)
            if hits < len(event.verdicts):
                self._misses.inc(len(event.verdicts) - hits)
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

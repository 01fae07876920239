"""Prometheus metrics of events."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from guard.telemetry.events import (
    AccessRefused,
    CacheFailed,
    CacheStateChanged,
    Event,
    KeysChanged,
    ModerationDone,
    ModerationFailed,
    PoliciesChanged,
    RequestDone,
)

__all__ = ["PrometheusListener"]

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
        self._refused = Counter("guard_access_refused", "Requests that were not let in", ["reason"], registry=registry)
        self._keys = Gauge("guard_keys", "API keys that can be used", registry=registry)
        self._keys_rejected = Gauge(
            "guard_keys_rejected", "1 while the file of API keys is kept out for a mistake", registry=registry
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
            case AccessRefused():
                self._child(self._refused, event.reason).inc()
            case KeysChanged():
                self._keys.set(event.usable)
                self._keys_rejected.set(bool(event.problem))
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

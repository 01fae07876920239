"""Puts the parts together: settings in, a moderator with its policies, screen, cache and listeners out.

The API and the command line both start here; nothing else chooses an implementation.
"""

import os
from collections.abc import Iterable, Mapping

import msgspec
from prometheus_client import CollectorRegistry, Info, ProcessCollector

from guard import __version__
from guard.access import Gate, KeyBook
from guard.access.rates import Limiter
from guard.access.shared import IN_FLIGHT, RedisBuckets
from guard.cache import VerdictCache
from guard.cache.memory import MemoryCache
from guard.cache.redis import RedisCache
from guard.chat.rails import GuardedChat
from guard.chat.upstream import Upstreams
from guard.chat.watched import WatchedUpstream
from guard.config import Settings
from guard.errors import InvalidPolicy, NoJudge, Problem
from guard.judge import Judge
from guard.memory import give_back
from guard.moderator import Moderator
from guard.policy import BookStatus, PatternNames, Policy, PolicyBook
from guard.policy.calibration import Model, misfits
from guard.redis_client import connecting
from guard.screen.encoder import Encoder
from guard.screen.patterns import CATALOGUE, check_regex
from guard.screen.standard import StandardScreen
from guard.service.extras import tracing
from guard.service.judging import Judging, judging_of
from guard.service.upstreams import upstreams as remote_upstreams
from guard.shadow import LeisurelyJudge, LeisurelyScreen, Shadow
from guard.store.recorder import Recorder
from guard.store.sqlite import SqliteStore, file_of
from guard.telemetry import (
    Connections,
    KeysChanged,
    Listener,
    Listeners,
    LogListener,
    PoliciesChanged,
    PrometheusListener,
    Queue,
    TraceListener,
)
from guard.turns import CROWD, Turns

__all__ = ["Service", "build", "judge_model", "offline", "pattern_names", "shipped_model", "tracing"]

_RATE_SECONDS = 0.05
"""How long a request may wait for the rates that replicas share."""


class Service(msgspec.Struct, frozen=True):
    """Everything that a running Guard is made of."""

    settings: Settings
    book: PolicyBook
    moderator: Moderator
    chat: GuardedChat
    gate: Gate
    listener: Listener
    registry: CollectorRegistry
    connections: Connections
    recorder: Recorder | None = None


def pattern_names() -> PatternNames:
    """What the policy loader must know of the screen's patterns."""
    return PatternNames(frozenset(CATALOGUE), check_regex)


def build(settings: Settings, *, serving: bool = True) -> Service:
    """A service ready to moderate. `serving`: for requests, which rollouts are for; not for a command's own texts.

    Raises:
        InvalidPolicy, ModelError, ConfigError: with what is wrong and where.
    """
    registry = CollectorRegistry()
    metrics = PrometheusListener(registry)
    told: list[Listener] = [LogListener(debugging=settings.server.log_level == "debug"), metrics]
    if settings.traces.endpoint:
        told.append(TraceListener())
    listener = Listeners(told)
    threads = _threads(settings)
    # As many again for tenants that would wait for another piece to end; idle where one is alone.
    screen = _screen(settings, 2 * threads)
    judging = Judging()

    def prepare(policies: Mapping[str, Policy]) -> None:
        if settings.default_policy not in policies:
            missing = f"the default policy `{settings.default_policy}` (GUARD_DEFAULT_POLICY) is not among them"
            raise InvalidPolicy([Problem(str(settings.policies), 0, "$", missing)])
        _check_models(policies.values(), screen, judging.judge)
        for policy in policies.values():
            screen.prepare(policy)

    def tell(status: BookStatus) -> None:
        names = tuple(policy.name for policy in book)
        problems = tuple(str(problem) for problem in status.problems)
        listener.on_event(PoliciesChanged(not problems, names, problems))
        # What was read, and the policies that were replaced, are garbage now.
        give_back()

    secret = settings.cache_secret
    book = PolicyBook(
        settings.policies,
        pattern_names(),
        on_load=prepare,
        on_status=tell,
        secret=secret,
        # A command asks nobody for a key, and draws for nobody.
        keyed=settings.access.keys is not None or not serving,
    )
    tell(book.status)
    judging = judging_of(settings, lambda: [policy.spec.chat.system_prompt for policy in book])
    _check_models(book, screen, judging.judge)
    most = settings.limits.max_waiting_texts
    turns = Turns(slots=threads, most=most, beside=threads)
    cache = _cache(settings, listener)
    recorder = _recorder(settings, screen.name, judging.judge, book, listener)
    shadow = None
    if serving:
        apart = Moderator(
            # Half of the threads are live traffic's own.
            screen=LeisurelyScreen(screen, lambda: 2 * turns.waiting < threads, at_once=max(1, threads // 4)),
            judge=LeisurelyJudge(judging.judge, judging.spare) if judging.judge is not None else None,
            cache=cache,
            secret=secret,
            listener=Listeners(),
        )
        shadow = Shadow(book.shadows, apart, listener, recorder)
    moderator = Moderator(
        screen=screen,
        judge=judging.judge,
        cache=cache,
        secret=secret,
        listener=listener,
        turns=turns,
        onlooker=shadow,
    )
    upstreams = remote_upstreams(settings.upstream, listener)
    if not upstreams and judging.upstream is not None:
        # Nobody else answers, and a model that can is here already.
        upstreams = Upstreams([WatchedUpstream(judging.upstream, listener)], {})
    chat = GuardedChat(moderator, upstreams, listener)
    queues = [Queue("screen", lambda: turns.waiting, CROWD * most), *judging.queues]
    if recorder is not None:
        store = recorder.store
        queues.append(Queue("store", lambda: store.waiting, store.room))
    connections = Connections()
    metrics.look_up(
        queues=queues,
        windows=lambda: screen.windows,
        streams=lambda: chat.streams,
        judge_open=judging.left_alone,
        connections=connections,
    )
    ProcessCollector(registry=registry)
    Info("guard_build", "The version that runs, and its models", registry=registry).info(
        {
            "version": __version__,
            "screen": screen.name,
            "judge": judging.judge.name if judging.judge is not None else "",
        }
    )
    gate = _gate(settings, listener)
    return Service(settings, book, moderator, chat, gate, listener, registry, connections, recorder)


def _recorder(
    settings: Settings, screen: str, judge: Judge | None, book: PolicyBook, listener: Listener
) -> Recorder | None:
    """What keeps records, where a store is set. Its file is not touched yet.

    Raises:
        ConfigError: GUARD_STORE names no file that could be one.
    """
    if not settings.store:
        return None
    store = SqliteStore(
        file_of(settings.store),
        listener=listener,
        retention=lambda: {policy.name: policy.spec.retention_days for policy in book},
    )
    return Recorder(store, listener, screen=screen, judge=judge.name if judge is not None else None)


def offline(settings: Settings, policies: Iterable[Policy], *, judge: bool) -> Moderator:
    """A moderator for commands that measure: nothing is cached, so that each text is read, and nobody listens.

    Without `judge` there is none, whatever the settings say.

    Raises:
        InvalidPolicy, ModelError, ConfigError: with what is wrong and where.
        NoJudge: a judge is asked for and none is configured.
    """
    screen = _screen(settings, _threads(settings))
    policies = tuple(policies)
    _check_models(policies, screen, None)
    for policy in policies:
        screen.prepare(policy)
    judging = judging_of(settings, list) if judge else Judging()
    _check_models(policies, screen, judging.judge)
    if judge and judging.judge is None:
        raise NoJudge(
            "no judge is configured: set GUARD_JUDGE, or GUARD_JUDGE_URL and GUARD_JUDGE_MODEL (docs/judge.md)"
        )
    return Moderator(
        screen=screen,
        judge=judging.judge,
        cache=MemoryCache(entries=0, ttl=1),
        secret=settings.cache_secret,
        listener=Listeners(),
        turns=Turns(slots=_threads(settings) + 1, most=settings.limits.max_waiting_texts),
    )


def shipped_model() -> Model:
    """The screen's model as calibrations know it, without loading it.

    Raises:
        ModelError: its files are missing or damaged.
    """
    name, fingerprint = Encoder.shipped_identity()
    return Model(name=name, fingerprint=fingerprint)


def judge_model(judge: Judge) -> Model:
    """A judge as calibrations know it."""
    return Model(name=judge.name, fingerprint=judge.fingerprint)


def _check_models(policies: Iterable[Policy], screen: StandardScreen, judge: Judge | None) -> None:
    """Raises InvalidPolicy where a policy's calibration was fitted on other models: thresholds would mean another
    thing, and nobody would see it."""
    asked = judge_model(judge) if judge is not None else None
    found = [misfits(policy.calibration, screen=screen.model, judge=asked) for policy in policies]
    if any(found):
        raise InvalidPolicy(sorted({problem for problems in found for problem in problems}))


def _threads(settings: Settings) -> int:
    return settings.encoder_threads or os.cpu_count() or 1


def _screen(settings: Settings, threads: int) -> StandardScreen:
    return StandardScreen(
        Encoder.shipped(),
        threads=threads,
        max_waiting=CROWD * settings.limits.max_waiting_texts,
        static=settings.static_tier,
    )


def _gate(settings: Settings, listener: Listener) -> Gate:
    """Who is let in; the rates are shared where the verdicts are.

    Raises:
        ConfigError: the file of keys is missing or wrong.
    """
    file = settings.access.keys
    keys = None
    if file is not None:
        keys = KeyBook(file, on_status=lambda status: listener.on_event(KeysChanged(status.usable, status.problem)))
        listener.on_event(KeysChanged(keys.status.usable))
    url = settings.cache.redis_url
    shared = None
    if url and keys is not None:
        client = connecting(url, timeout=_RATE_SECONDS, connections=IN_FLIGHT)
        shared = RedisBuckets(client, timeout=_RATE_SECONDS, listener=listener)
    return Gate(keys, Limiter(shared), listener)


def _cache(settings: Settings, listener: Listener) -> VerdictCache:
    kept = settings.cache
    if kept.redis_url:
        return RedisCache(kept.redis_url, ttl=kept.ttl_seconds, entries=kept.entries, listener=listener)
    return MemoryCache(entries=kept.entries, ttl=kept.ttl_seconds)

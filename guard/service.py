"""Puts the parts together: settings in, a moderator with its policies, screen, cache and listeners out.

The API and the command line both start here; nothing else chooses an implementation.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import msgspec
import yaml
from prometheus_client import CollectorRegistry, Info, ProcessCollector

from guard import __version__
from guard.access import Gate, KeyBook
from guard.access.rates import Limiter
from guard.access.shared import IN_FLIGHT, RedisBuckets
from guard.cache import VerdictCache
from guard.cache.memory import MemoryCache
from guard.cache.redis import RedisCache
from guard.chat.rails import GuardedChat
from guard.chat.upstream import RemoteUpstream, SystemRole, Upstream, Upstreams
from guard.chat.watched import WatchedUpstream
from guard.config import JudgeSettings, Settings, TraceSettings, UpstreamSettings
from guard.errors import ConfigError, InvalidPolicy, NoJudge, Problem
from guard.judge import Judge
from guard.judge.rendering import WRAPPINGS
from guard.memory import give_back
from guard.moderator import Moderator
from guard.policy import BookStatus, PatternNames, Policy, PolicyBook
from guard.policy.calibration import Model, misfits
from guard.redis_client import connecting
from guard.screen.encoder import Encoder
from guard.screen.patterns import CATALOGUE, check_regex
from guard.screen.standard import StandardScreen
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
    Tracer,
)
from guard.telemetry.sampling import Sampling
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
    judging = _Judging()

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
    judging = _judge(settings, lambda: [policy.spec.chat.system_prompt for policy in book])
    _check_models(book, screen, judging.judge)
    most = settings.limits.max_waiting_texts
    turns = Turns(slots=threads, most=most, beside=threads)
    cache = _cache(settings, listener)
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
        shadow = Shadow(book.shadows, apart, listener)
    moderator = Moderator(
        screen=screen,
        judge=judging.judge,
        cache=cache,
        secret=secret,
        listener=listener,
        turns=turns,
        onlooker=shadow,
    )
    upstreams = _upstreams(settings.upstream, listener)
    if not upstreams and judging.upstream is not None:
        # Nobody else answers, and a model that can is here already.
        upstreams = Upstreams([WatchedUpstream(judging.upstream, listener)], {})
    chat = GuardedChat(moderator, upstreams, listener)
    recorder = _recorder(settings, moderator, book, listener)
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


def _recorder(settings: Settings, moderator: Moderator, book: PolicyBook, listener: Listener) -> Recorder | None:
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
    judge = moderator.judge.name if moderator.judge is not None else None
    return Recorder(store, listener, screen=moderator.screen.name, judge=judge)


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
    judging = _judge(settings, list) if judge else _Judging()
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


def tracing(asked: TraceSettings, listener: Listener) -> Tracer | None:
    """Who records traces; OpenTelemetry is imported only where they are asked for.

    Raises:
        ConfigError: it is not installed, or a setting of its own is wrong.
    """
    # OpenTelemetry's own word for off.
    if not asked.endpoint or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from guard.telemetry.otlp import OtlpTracer  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(f"GUARD_OTLP_ENDPOINT {_remedy(exc, 'otel')}") from exc
    return OtlpTracer(asked.endpoint, Sampling(asked.share, asked.asked_per_second), listener)


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


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One server of the file that GUARD_UPSTREAMS names."""

    name: str
    url: str
    key_env: str = ""
    models: tuple[str, ...] = ()
    system_role: SystemRole = "system"
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0.0)] = 600.0


def _upstreams(asked: UpstreamSettings, listener: Listener) -> Upstreams:
    """The servers that answer chats.

    Raises:
        ConfigError: an address is none, or the file is missing or wrong.
    """
    if asked.url:
        listed = [_Listed("upstream", asked.url, system_role=asked.system_role, timeout_seconds=asked.timeout_seconds)]
        keys = [asked.key]
    elif asked.file is not None:
        listed = _listed(asked.file)
        keys = [os.environ.get(one.key_env, "") if one.key_env else "" for one in listed]
    else:
        listed, keys = [], []
    for one, key in zip(listed, keys, strict=True):
        if urlsplit(one.url).scheme not in ("http", "https"):
            raise ConfigError(f"the upstream's address `{one.url}` is none: give one such as http://vllm:8000/v1")
        if one.key_env and not key:
            raise ConfigError(f"{asked.file}: `{one.name}` takes its key from {one.key_env}, which is not set")
    return Upstreams(
        [
            WatchedUpstream(
                RemoteUpstream(one.name, one.url, key=key, timeout=one.timeout_seconds, system_role=one.system_role),
                listener,
            )
            for one, key in zip(listed, keys, strict=True)
        ],
        {one.name: one.models for one in listed},
    )


def _listed(file: Path) -> list[_Listed]:
    try:
        listed = msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), list[_Listed])
    except OSError as exc:
        raise ConfigError(f"GUARD_UPSTREAMS: {file} cannot be read ({exc.strerror})") from exc
    except (yaml.YAMLError, msgspec.ValidationError) as exc:
        raise ConfigError(f"GUARD_UPSTREAMS: {file}: {exc}") from exc
    names = [one.name for one in listed]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"GUARD_UPSTREAMS: {file}: expected a list of servers with different names")
    return listed


class _Judging(NamedTuple):
    """A judge, what else its model can do, and what metrics show of it. `spare`: whether it has time for what nobody
    waits for."""

    judge: Judge | None = None
    upstream: Upstream | None = None
    queues: tuple[Queue, ...] = ()
    left_alone: Callable[[], bool] | None = None
    spare: Callable[[], bool] = lambda: True


def _judge(settings: Settings, prompts: Callable[[], list[str]]) -> _Judging:
    """The judge that the settings ask for. What else its model can do is to answer chats, which may begin with one of
    the policies' `prompts`. Its own runtime is imported only for it."""
    asked = settings.judge
    if asked.local:
        return _local_judge(asked, prompts)
    if not asked.url:
        return _Judging()
    from guard.judge.remote import RemoteJudge  # noqa: PLC0415

    # Whoever else uses that server cannot tell from its prefix cache what was asked here.
    salt = hashlib.blake2b(b"judge", key=hashlib.blake2b(settings.cache_secret).digest(), digest_size=16).hexdigest()
    remote = RemoteJudge(
        asked.url,
        model=asked.model,
        key=asked.key,
        api=asked.api,
        form=asked.format,
        wrapping=WRAPPINGS[asked.template],
        timeout=asked.timeout_seconds,
        in_flight=asked.in_flight,
        waiting=asked.max_waiting,
        context=asked.context_tokens,
        salt=salt,
    )
    queue = Queue("judge", lambda: remote.waiting, asked.max_waiting)
    # Half of the calls that may run are live traffic's own.
    spare = max(1, asked.in_flight // 2)
    return _Judging(remote, None, (queue,), lambda: remote.left_alone, lambda: remote.waiting < spare)


def _local_judge(asked: JudgeSettings, prompts: Callable[[], list[str]]) -> _Judging:
    try:
        from guard.chat.local import LocalUpstream  # noqa: PLC0415
        from guard.engine.engine import Engine  # noqa: PLC0415
        from guard.judge.local import LocalJudge  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(f"GUARD_JUDGE {_remedy(exc, 'judge')}") from exc
    engine = Engine(asked.local)
    judge = LocalJudge(engine, form=asked.format, context=asked.context_tokens, waiting=asked.max_waiting)
    # A model that was trained to judge has nothing to say.
    upstream = LocalUpstream(engine, prompts=prompts) if asked.format == "instruct" else None
    queues = (
        Queue("judge", lambda: judge.waiting, asked.max_waiting),
        Queue("engine", lambda: engine.scheduler.waiting, engine.scheduler.most_waiting),
    )
    return _Judging(judge, upstream, queues, spare=lambda: not judge.waiting and not engine.scheduler.waiting)


def _remedy(exc: ImportError, extra: str) -> str:
    """What a part of Guard lacks, and what brings it."""
    if exc.name and exc.name.partition(".")[0] in ("guard", "guard_kernels"):
        return (
            f"needs {exc.name}, a part of Guard that this installation lacks: install guard-moderation anew, from a "
            "source tree with both guard/ and kernels/"
        )
    if isinstance(exc, ModuleNotFoundError):
        return f"needs a package that is not installed ({exc.name}): pip install 'guard-moderation[{extra}]'"
    return f"needs {exc.name or 'a package'}, which is there but cannot be imported ({exc}): install it anew"

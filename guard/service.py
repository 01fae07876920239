"""Puts the parts together: settings in, a moderator with its policies, screen, cache and listeners out.

The API and the command line both start here; nothing else chooses an implementation.
"""

import hashlib
import os
from collections.abc import Mapping

import msgspec
from prometheus_client import CollectorRegistry

from guard.cache import VerdictCache
from guard.cache.memory import MemoryCache
from guard.cache.redis import RedisCache
from guard.config import JudgeSettings, Settings
from guard.errors import ConfigError, InvalidPolicy, Problem
from guard.judge import Judge
from guard.judge.rendering import WRAPPINGS
from guard.moderator import Moderator
from guard.policy import BookStatus, PatternNames, Policy, PolicyBook
from guard.screen.encoder import Encoder
from guard.screen.patterns import CATALOGUE, check_regex
from guard.screen.standard import StandardScreen
from guard.telemetry import Listener, Listeners, LogListener, PoliciesChanged, PrometheusListener

__all__ = ["Service", "build", "pattern_names"]


class Service(msgspec.Struct, frozen=True):
    """Everything that a running Guard is made of."""

    settings: Settings
    book: PolicyBook
    moderator: Moderator
    listener: Listener
    registry: CollectorRegistry


def pattern_names() -> PatternNames:
    """What the policy loader must know of the screen's patterns."""
    return PatternNames(frozenset(CATALOGUE), check_regex)


def build(settings: Settings) -> Service:
    """A service ready to moderate.

    Raises:
        InvalidPolicy, ModelError, ConfigError: with what is wrong and where.
    """
    registry = CollectorRegistry()
    listener = Listeners([LogListener(debugging=settings.server.log_level == "debug"), PrometheusListener(registry)])
    threads = settings.encoder_threads or os.cpu_count() or 1
    screen = StandardScreen(
        Encoder.shipped(),
        threads=threads,
        max_waiting=settings.limits.max_waiting_texts,
        static=settings.static_tier,
    )

    def prepare(policies: Mapping[str, Policy]) -> None:
        if settings.default_policy not in policies:
            missing = f"the default policy `{settings.default_policy}` (GUARD_DEFAULT_POLICY) is not among them"
            raise InvalidPolicy([Problem(str(settings.policies), 0, "$", missing)])
        for policy in policies.values():
            screen.prepare(policy)

    def tell(status: BookStatus) -> None:
        names = tuple(policy.name for policy in book)
        problems = tuple(str(problem) for problem in status.problems)
        listener.on_event(PoliciesChanged(not problems, names, problems))

    book = PolicyBook(settings.policies, pattern_names(), on_load=prepare, on_status=tell)
    tell(book.status)
    moderator = Moderator(
        screen=screen,
        judge=_judge(settings),
        cache=_cache(settings, listener),
        secret=settings.cache_secret,
        listener=listener,
    )
    return Service(settings, book, moderator, listener, registry)


def _cache(settings: Settings, listener: Listener) -> VerdictCache:
    kept = settings.cache
    if kept.redis_url:
        return RedisCache(kept.redis_url, ttl=kept.ttl_seconds, entries=kept.entries, listener=listener)
    return MemoryCache(entries=kept.entries, ttl=kept.ttl_seconds)


def _judge(settings: Settings) -> Judge | None:
    """The judge that the settings ask for; its own runtime is imported only for it."""
    asked = settings.judge
    if asked.local:
        return _local_judge(asked)
    if not asked.url:
        return None
    from guard.judge.remote import RemoteJudge  # noqa: PLC0415

    # Whoever else uses that server cannot tell from its prefix cache what was asked here.
    salt = hashlib.blake2b(b"judge", key=hashlib.blake2b(settings.cache_secret).digest(), digest_size=16).hexdigest()
    return RemoteJudge(
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


def _local_judge(asked: JudgeSettings) -> Judge:
    try:
        from guard.judge.local import LocalJudge  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(f"GUARD_JUDGE {_remedy(exc)}") from exc
    return LocalJudge(asked.local, form=asked.format, context=asked.context_tokens, waiting=asked.max_waiting)


def _remedy(exc: ImportError) -> str:
    """What the local judge lacks, and what brings it."""
    if exc.name and exc.name.partition(".")[0] in ("guard", "guard_kernels"):
        return (
            f"needs {exc.name}, a part of Guard that this installation lacks: install guard-moderation anew, from a "
            "source tree with both guard/ and kernels/"
        )
    if isinstance(exc, ModuleNotFoundError):
        return f"needs a package that is not installed ({exc.name}): pip install 'guard-moderation[judge]'"
    return f"needs {exc.name or 'a package'}, which is there but cannot be imported ({exc}): install it anew"

"""The judge that the settings name, and what else its model can do."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from guard.chat.upstream import Upstream
from guard.config import JudgeSettings, Settings
from guard.errors import ConfigError
from guard.judge import Judge
from guard.judge.rendering import WRAPPINGS
from guard.service.extras import remedy
from guard.telemetry import Queue

__all__ = ["Judging", "judging_of"]


class Judging(NamedTuple):
    """A judge, what else its model can do, and what metrics show of it. `spare`: whether it has time for what nobody
    waits for."""

    judge: Judge | None = None
    upstream: Upstream | None = None
    queues: tuple[Queue, ...] = ()
    left_alone: Callable[[], bool] | None = None
    spare: Callable[[], bool] = lambda: True


def judging_of(settings: Settings, prompts: Callable[[], list[str]]) -> Judging:
    """The judge that the settings ask for. What else its model can do is to answer chats, which may begin with one of
    the policies' `prompts`. Its own runtime is imported only for it."""
    asked = settings.judge
    if asked.local:
        return _local_judge(asked, prompts)
    if not asked.url:
        return Judging()
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
    return Judging(remote, None, (queue,), lambda: remote.left_alone, lambda: remote.waiting < spare)


def _local_judge(asked: JudgeSettings, prompts: Callable[[], list[str]]) -> Judging:
    try:
        from guard.chat.local import LocalUpstream  # noqa: PLC0415
        from guard.engine.engine import Engine  # noqa: PLC0415
        from guard.judge.local import LocalJudge  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(f"GUARD_JUDGE {remedy(exc, 'judge')}") from exc
    engine = Engine(asked.local, fp8=asked.dtype == "fp8")
    judge = LocalJudge(engine, form=asked.format, context=asked.context_tokens, waiting=asked.max_waiting)
    # A model that was trained to judge has nothing to say.
    upstream = LocalUpstream(engine, prompts=prompts) if asked.format == "instruct" else None
    queues = (
        Queue("judge", lambda: judge.waiting, asked.max_waiting),
        Queue("engine", lambda: engine.scheduler.waiting, engine.scheduler.most_waiting),
    )
    return Judging(judge, upstream, queues, spare=lambda: not judge.waiting and not engine.scheduler.waiting)

"""One call's texts, from the policy that it is under to its verdicts and their records: the same on every route that
moderates."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from litestar.types import Scope

from guard.access import Caller
from guard.api.access import admitted
from guard.api.ids import fresh_id
from guard.api.schemas import opening
from guard.content import Content, Turn
from guard.moderator import Moderation
from guard.policy import Policy
from guard.service import Service
from guard.store import Finding
from guard.store.recorder import CALL, NOT_STORED, Call, Recorder, keeping
from guard.verdict import Verdict

__all__ = ["Moderated", "moderated", "policy_named"]

_HEADER = b"x-guard-policy"


class Moderated(NamedTuple):
    """A call's verdicts, in the order of its texts, and what they cost. `id` is that of its records too."""

    id: str
    policy: Policy
    verdicts: tuple[Verdict, ...]
    done: Moderation


def policy_named(service: Service, caller: Caller, scope: Scope, model: str | None = None) -> str | None:
    """The policy that a request in another vendor's dialect names: in the header `X-Guard-Policy`, or as its `model`,
    where there is such a policy and the caller may use it. None: none, for these dialects take any model's name."""
    for name, value in scope["headers"]:
        if name == _HEADER:
            return value.decode("latin-1")
    if model is not None and model.partition("@")[0] in [known.name for known in service.book]:
        return model if caller.may_use(model) else None
    return None


async def moderated(
    service: Service,
    caller: Caller,
    contents: Sequence[Content],
    *,
    policy: str | None,
    only: frozenset[str] | None = None,
    explained: bool = False,
    cuts: bool = False,
    store: bool | None = None,
    suits: Callable[[Policy], bool] = lambda _: True,
) -> Moderated:
    """Verdicts on texts, under the policy that was named or the caller's default; from the caller's rates.

    `only`: these categories. `cuts`: with the places that redaction leaves out. `store`: whether the texts are to be
    kept, where the request says it. `suits`: whether a canary's policy may answer instead.

    Raises:
        PolicyNotFound, Forbidden: there is no such policy, or it is not the caller's.
        InvalidContent: `only` or `store` ask for what the policy has not.
        RateLimited, Overloaded, StoreError: see `Gate.admit`, `Moderator.moderate`, `Recorder.keep`.
    """
    recorder = service.recorder
    named = service.gate.policy(caller, policy, service.settings.default_policy)
    # Whoever names a policy that there is not is told that first.
    _ = service.book[named]
    first = contents[0]
    chosen = service.book.chosen(
        named,
        tenant=caller.tenant,
        beginning=lambda: opening([*first.context, Turn(first.role, first.text)]),
        # Whoever names categories gets a verdict on them, or the error of the policy that was asked for; and a
        # record that is asked for is not refused for a canary's sake.
        suits=lambda other: (
            (only is None or only <= {category.name for category in other.active(first.rail)})
            and (not store or other.spec.store_texts)
            and suits(other)
        ),
    )
    kept = None
    if recorder is not None or store is not None:
        kept = keeping(chosen, store, stored=recorder is not None)
    if caller.limited:
        await admitted(service.gate, caller, sum([len(content.text) for content in contents]))
    id, call = f"mod_{fresh_id()}", None
    if kept is not None:
        call = Call(id, "moderate", caller.tenant, caller.name, chosen, kept, only)
    # For shadows, whose records are beside those of this call.
    CALL.set(call)
    done = await service.moderator.moderate(
        contents, chosen, only=only, explained=explained, cuts=cuts, tenant=caller.tenant
    )
    verdicts = done.verdicts
    if recorder is not None and call is not None:
        verdicts = await _recorded(recorder, call, contents, done)
    return Moderated(id, chosen, verdicts, done)


async def _recorded(
    recorder: Recorder, call: Call, contents: Sequence[Content], done: Moderation
) -> tuple[Verdict, ...]:
    """The verdicts once their records are kept; those whose record is not say so among their reasons."""
    findings = [Finding(*found) for found in zip(contents, done.verdicts, done.assessments, strict=True)]
    lost = await recorder.keep(call, findings)
    if not lost:
        return done.verdicts
    return tuple(
        [
            msgspec.structs.replace(verdict, reasons=(*verdict.reasons, NOT_STORED)) if place in lost else verdict
            for place, verdict in enumerate(done.verdicts)
        ]
    )

"""What a chat request says to Guard itself, in Guard's own words, OpenAI's (`moderation`) or Mistral's (`guardrails`,
`safe_prompt`). All of it is taken out of the body: the upstream need not know it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from guard.api.errors import SchemaMismatch
from guard.chat.options import Guardrail, Options
from guard.content import Rail
from guard.errors import InvalidContent
from guard.policy import Policy
from guard.policy.schema import BlockStyle

__all__ = ["GuardField", "MistralGuardrail", "ModerationField", "guard_field", "options_of"]

T = TypeVar("T")
_UNKNOWN = "Object contains unknown field `"
_Score = Annotated[float, Meta(ge=0.0, le=1.0)]


class GuardField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Guard's own field of a chat request.

    `block_style`: how a block looks; the policy's where absent. `vetted`: whether chunks say how much has been checked.
    """

    policy: str | None = None
    block_style: BlockStyle | None = None
    vetted: bool = False


class Mode(msgspec.Struct, frozen=True):
    """What OpenAI's `moderation` does on one side: `score` tells, `block` blocks whatever is flagged."""

    mode: Literal["score", "block"]


class ModerationPolicy(msgspec.Struct, frozen=True):
    """Both sides of OpenAI's `moderation`."""

    input: Mode | None = None
    output: Mode | None = None


class ModerationField(msgspec.Struct, frozen=True):
    """OpenAI's `moderation` parameter of a chat."""

    model: str
    policy: ModerationPolicy | None = None


class MistralModeration(msgspec.Struct, frozen=True):
    """One moderation of a guardrail of Mistral's. Thresholds are by Mistral's categories."""

    model_name: str | None = None
    custom_category_thresholds: dict[str, _Score | None] | None = None
    ignore_other_categories: bool = False
    action: Literal["none", "block"] | None = None


class MistralGuardrail(msgspec.Struct, frozen=True):
    """One of Mistral's `guardrails` of a chat."""

    block_on_error: bool = False
    moderation_llm_v1: MistralModeration | None = None
    moderation_llm_v2: MistralModeration | None = None


def guard_field(body: dict[str, Any]) -> GuardField:
    """The body's `guard`, which is taken out of it.

    Raises:
        SchemaMismatch: it is in another form, or has a field that there is not.
    """
    return _taken(body, "guard", GuardField | None) or GuardField()


def options_of(
    body: dict[str, Any], ours: GuardField, policy: Policy, *, style: BlockStyle | None, tenant: str
) -> Options:
    """The request's options; what says them is taken out of the body. `style`: how a block looks where nothing asks.

    Raises:
        SchemaMismatch: something is in another form.
        InvalidContent: a threshold for a category that the policy cannot tell.
    """
    moderation = _taken(body, "moderation", ModerationField | None)
    asked: list[MistralGuardrail] = _taken(body, "guardrails", list[MistralGuardrail] | None) or []
    guardrails = [found for number, one in enumerate(asked) for found in _mistral(one, number, policy)]
    if moderation is not None and moderation.policy is not None:
        guardrails += _openai(moderation.policy, policy)
    return Options(
        # Whoever speaks Mistral's dialect expects its answers.
        style=ours.block_style or ("mistral" if asked else style),
        vetted=ours.vetted,
        moderation=moderation.model if moderation is not None else None,
        guardrails=tuple(guardrails),
        safe_prompt=_taken(body, "safe_prompt", bool | None) or False,
        tenant=tenant,
    )


def _openai(asked: ModerationPolicy, policy: Policy) -> list[Guardrail]:
    sides = ((Rail.INPUT, asked.input), (Rail.OUTPUT, asked.output))
    return [
        Guardrail("moderation", frozenset({rail}), _starts(policy, rail))
        for rail, side in sides
        if side is not None and side.mode == "block"
    ]


def _mistral(asked: MistralGuardrail, number: int, policy: Policy) -> list[Guardrail]:
    found = []
    for name in ("moderation_llm_v1", "moderation_llm_v2"):
        moderation: MistralModeration | None = getattr(asked, name)
        if moderation is None or moderation.action == "none":
            continue
        path = f"$.guardrails[{number}].{name}.custom_category_thresholds"
        custom = _custom(moderation.custom_category_thresholds or {}, path, policy)
        for rail in Rail:
            others = {} if moderation.ignore_other_categories else _starts(policy, rail)
            found.append(Guardrail(name, frozenset({rail}), others | custom, asked.block_on_error))
    return found


def _custom(thresholds: Mapping[str, float | None], path: str, policy: Policy) -> dict[str, float]:
    """The thresholds by the policy's categories, the lowest of those that a category has."""
    custom: dict[str, float] = {}
    for theirs, start in thresholds.items():
        if start is None:
            continue
        own = [name for name, category in policy.categories.items() if theirs in (name, *category.maps.mistral)]
        if not own:
            # To take it and not check it would be a promise broken.
            raise InvalidContent(f"policy `{policy.name}` has no category for `{theirs}`", path=f"{path}.{theirs}")
        for name in own:
            custom[name] = min(start, custom.get(name, 1.0))
    return custom


def _starts(policy: Policy, rail: Rail) -> dict[str, float]:
    return {category.name: category.lowest for category in policy.active(rail)}


def _taken(body: dict[str, Any], name: str, kind: type[T] | Any) -> T | None:
    try:
        found: T | None = msgspec.convert(body.pop(name, None), kind)
    except msgspec.ValidationError as exc:
        message, _, place = str(exc).partition(" - at `$")
        unknown = message.removeprefix(_UNKNOWN).rstrip("`") if message.startswith(_UNKNOWN) else ""
        path = f"$.{name}{place.rstrip('`')}" + (f".{unknown}" if unknown else "")
        raise SchemaMismatch(message, path=path) from exc
    return found

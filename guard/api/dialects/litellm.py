"""`POST /beta/litellm_basic_guardrail_api`: the guardrail that LiteLLM's proxy asks before and after a model.

LiteLLM sends all texts of a call, taken out of its messages, and beside them the messages themselves. Where both say
the same, the policy's `chat.scope` holds and each message is judged in its context, as in a guarded chat; where they do
not, or there are no messages, every text is judged by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple

import msgspec
from litestar import Router
from litestar.types import Scope

from guard.access import Caller
from guard.api.body import decoded
from guard.api.chat import MOST_MESSAGES
from guard.api.errors import ProblemDetails, speaking
from guard.api.openapi import describe_path, described
from guard.api.posted import posted
from guard.api.schemas import PolicyName, check_count, check_length
from guard.api.verdicts import moderated, policy_named
from guard.chat.conversation import Message, Piece, arguments_text, in_scope, redacted
from guard.chat.history import history_of
from guard.chat.report import CategoryReport, RailReport
from guard.config import Limits
from guard.content import Content, Rail
from guard.dialects.litellm import LiteLLMResult, litellm_result
from guard.errors import InvalidContent
from guard.policy import Policy
from guard.policy.redaction import Redactor
from guard.service import Service
from guard.verdict import ActionWord, Verdict

__all__ = ["router"]

_PATH = "/beta/litellm_basic_guardrail_api"
_CALLS = (("function", "arguments"), ("custom", "input"))


class GuardrailParameters(msgspec.Struct, frozen=True):
    """What a guardrail's configuration says to Guard; the header `X-Guard-Policy` goes before it."""

    policy: str | None = None


class GuardrailRequest(msgspec.Struct, frozen=True):
    """What LiteLLM took out of one call. Fields that are not known are left alone.

    `texts` and `tool_calls` are checked; `images` are not looked at. `structured_messages` are where the texts come
    from, on the way to a model.
    """

    texts: list[str] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    structured_messages: list[Any] | None = None
    images: list[Any] | None = None
    input_type: Literal["request", "response"] = "request"
    additional_provider_specific_params: GuardrailParameters | None = None


class GuardrailReport(msgspec.Struct, frozen=True):
    """What was found, for whoever reads LiteLLM's log; LiteLLM itself leaves it alone.

    `unredacted` names what the policy redacts and LiteLLM has no place for: such calls are blocked. `id` is that of the
    call's records; null where there was nothing to check.
    """

    id: str | None
    policy: PolicyName
    action: ActionWord
    categories: dict[str, CategoryReport]
    uninspected: tuple[str, ...]
    unredacted: tuple[str, ...]
    degraded: bool


class GuardrailAnswer(LiteLLMResult, frozen=True, kw_only=True):
    """What LiteLLM is to do, and in `guard` why."""

    guard: GuardrailReport


class GuardrailError(msgspec.Struct, frozen=True):
    """An error as LiteLLM's own servers tell it: what is wrong and where, for people, and its kind for programs.
    LiteLLM itself reads the status alone."""

    detail: str
    code: str


_DECODER = msgspec.json.Decoder(GuardrailRequest)
_ENCODER = msgspec.json.Encoder()
_EXAMPLE = '{"input_type": "request", "texts": ["a text"]}'
_DESCRIPTION = described(
    GuardrailAnswer,
    body=GuardrailRequest,
    text="What LiteLLM is to do with the call",
    errors=(400, 401, 403, 404, 408, 413, 415, 429, 503),
    error=GuardrailError,
)(
    operation_id="LiteLLMGuardrail",
    summary="Check one call of a LiteLLM proxy",
    description=(
        "LiteLLM's generic guardrail. The policy is named by `X-Guard-Policy`, or as `policy` in the guardrail's "
        "`additional_provider_specific_params`."
    ),
    tags=["dialects"],
)


class _Given(NamedTuple):
    """One call's messages, whose pieces write into `texts`; a piece that cannot be replaced writes its place into
    `unredacted`. `mapped`: whether they are a conversation."""

    messages: list[Message]
    mapped: bool
    texts: list[str]
    unredacted: list[str]
    uninspected: tuple[str, ...]

    def within(self, policy: Policy, rail: Rail) -> list[tuple[Message, Content]]:
        """What of it is checked: the policy's scope of a conversation, else everything."""
        if self.mapped:
            found = in_scope(self.messages, policy.spec.chat)
        else:
            found = [(message, Content(message.text, message.role, rail)) for message in self.messages]
        return [(message, content) for message, content in found if content.text]


def router(service: Service) -> Router:
    """The route, bound to its service."""
    limits = service.settings.limits
    describe_path(_PATH, post=_DESCRIPTION)

    async def checked(scope: Scope, caller: Caller, body: bytes) -> bytes:
        asked = decoded(body, _DECODER, _EXAMPLE)
        ours = asked.additional_provider_specific_params
        named = policy_named(service, caller, scope) or (ours.policy if ours is not None else None)
        policy = service.book[service.gate.policy(caller, named, service.settings.default_policy)]
        rail = Rail.INPUT if asked.input_type == "request" else Rail.OUTPUT
        given = _given(asked, rail, limits)
        # As in a guarded chat: what a model answers cannot be refused for what nobody can look at.
        refused = bool(given.uninspected) and rail is Rail.INPUT and policy.spec.chat.uninspected == "refuse"
        within = given.within(policy, rail)
        check_count(len(within), "texts in one request", limits, "$.texts")
        if refused or not within:
            return _ENCODER.encode(_answer(asked, given, rail, policy, (), None, refused=refused))
        told = await moderated(service, caller, [content for _, content in within], policy=named, cuts=True)
        redactor = Redactor(told.policy.spec.redaction.style, [message.text for message in given.messages])
        verdicts = told.verdicts
        if given.mapped:
            history = await history_of(service.moderator, given.messages, told.policy, tenant=caller.tenant)
            verdicts += history.failed
            for message, cuts in history.cuts:
                # A call's arguments cannot be given back, and are no reason to block later what has passed once.
                if not message.calls:
                    redacted(message, cuts, redactor)
        for (message, _), verdict in zip(within, told.verdicts, strict=True):
            if verdict.cuts:
                redacted(message, verdict.cuts, redactor)
        return _ENCODER.encode(_answer(asked, given, rail, told.policy, verdicts, told.id))

    return Router("", route_handlers=[posted(_PATH, service, checked)], exception_handlers=speaking(_error))


def _error(problem: ProblemDetails) -> GuardrailError:
    places = [f"{place.path}: {place.message}" for place in problem.errors]
    return GuardrailError("; ".join(places) or problem.detail, problem.type.rpartition(":")[2])


def _answer(
    asked: GuardrailRequest,
    given: _Given,
    rail: Rail,
    policy: Policy,
    verdicts: tuple[Verdict, ...],
    id: str | None,
    *,
    refused: bool = False,
) -> GuardrailAnswer:
    refused = refused or bool(given.unredacted)
    result = litellm_result(policy, rail, verdicts, given=asked.texts or (), redacted=given.texts, refused=refused)
    report = RailReport.of(verdicts)
    told = GuardrailReport(
        id,
        PolicyName(policy.name, policy.fingerprint),
        "block" if refused else report.action,
        report.categories,
        tuple(dict.fromkeys([*given.uninspected, *report.uninspected])),
        tuple(dict.fromkeys(given.unredacted)),
        report.degraded,
    )
    return GuardrailAnswer(**msgspec.structs.asdict(result), guard=told)


def _given(asked: GuardrailRequest, rail: Rail, limits: Limits) -> _Given:
    """What is to be checked: the messages of a conversation where they are the texts' own, else the texts and calls,
    one by one.

    Raises:
        LimitExceeded, InvalidContent: more than one request may have.
    """
    texts, unredacted = list(asked.texts or ()), list[str]()
    calls = asked.tool_calls or ()
    rows = asked.structured_messages or ()
    for name, listed in (("texts", texts), ("tool_calls", calls), ("structured_messages", rows)):
        if len(listed) > MOST_MESSAGES:
            raise InvalidContent(f"more than {MOST_MESSAGES} in one call", path=f"$.{name}")
    pieces = [Piece(text, partial(texts.__setitem__, place)) for place, text in enumerate(texts)]
    of_calls = [
        Piece(_call_text(call), _noted(unredacted, f"$.tool_calls[{place}]")) for place, call in enumerate(calls)
    ]
    check_length(sum(len(piece.text) for piece in [*pieces, *of_calls]), "$.texts", limits)
    messages = _conversation(rows, pieces, of_calls) if rail is Rail.INPUT else None
    mapped = messages is not None
    if messages is None:
        # Who wrote a text that goes to a model is not said; calls are a model's own.
        author = "" if rail is Rail.INPUT else "assistant"
        messages = [Message(author, (piece,), (), False) for piece in pieces]
        messages += [Message("assistant", (piece,), (), True) for piece in of_calls]
    return _Given(messages, mapped, texts, unredacted, _unseen(asked.images or (), rows))


def _noted(places: list[str], place: str) -> Callable[[str], None]:
    return lambda _: places.append(place)


def _conversation(rows: Sequence[Any], texts: Sequence[Piece], calls: Sequence[Piece]) -> list[Message] | None:
    """The messages that texts and calls come from; None where they are not the same, in the same order."""
    left, calls_left = iter(texts), iter(calls)
    messages = []
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("role"), str):
            return None
        own_calls = row.get("tool_calls") or ()
        if not isinstance(own_calls, list | tuple) or not all(isinstance(call, dict) for call in own_calls):
            return None
        own: list[Piece] = []
        for said, source in ((_texts_of(row.get("content")), left), ([_call_text(c) for c in own_calls], calls_left)):
            found = list(islice(source, len(said)))
            if [piece.text for piece in found] != said:
                return None
            own += found
        messages.append(Message(row["role"], tuple(own), (), bool(own_calls)))
    return messages if messages and not [*left, *calls_left] else None


def _texts_of(content: Any) -> list[Any]:
    """What LiteLLM takes out of a message's content: a text, or the texts of its parts."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else ()
    return [part["text"] for part in parts if isinstance(part, dict) and part.get("text") is not None]


def _call_text(call: Mapping[str, Any]) -> str:
    """The strings of a tool call's arguments; of one in an unknown shape all that it has."""
    inside = [(call.get(kind), key) for kind, key in _CALLS]
    found = [own[key] for own, key in inside if isinstance(own, dict) and isinstance(own.get(key), str)]
    return "\n".join(map(arguments_text, found or [msgspec.json.encode(call).decode()]))


def _unseen(images: Sequence[Any], rows: Sequence[Any]) -> tuple[str, ...]:
    """What is named for not being looked at: images, and parts of messages of which LiteLLM sends nothing else."""
    unseen = [f"$.images[{place}]: image" for place in range(len(images))]
    for number, row in enumerate(rows):
        content = row.get("content") if isinstance(row, dict) else None
        for place, part in enumerate(content if isinstance(content, list) else ()):
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind != "image_url" and part.get("text") is None:
                unseen.append(f"$.structured_messages[{number}].content[{place}]: {kind[:40]}")
    return tuple(unseen)

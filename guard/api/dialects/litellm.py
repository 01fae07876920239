"""`POST /beta/litellm_basic_guardrail_api`: the guardrail that LiteLLM's proxy asks before and after a model.

LiteLLM sends all texts of a call, taken out of its messages, and beside them the messages themselves. Where both say
the same, the policy's `chat.scope` holds and each message is judged in its context, as in a guarded chat; where they do
not, or there are no messages, every text is judged by itself. So is what messages say besides the texts.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple

import msgspec
from litestar import Router
from litestar.types import Scope

from guard.access import Caller
from guard.api.access import admitted
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
from guard.policy.schema import Chat
from guard.service import Service
from guard.verdict import ActionWord, Verdict

__all__ = ["router"]

_PATH = "/beta/litellm_basic_guardrail_api"
_CALLS = (("function", "arguments"), ("custom", "input"))
_NAMES = frozenset({"cache_control", "id", "index", "name", "role", "tool_call_id", "type"})
"""Fields of messages that a model does not read as text, or that only name something."""
_CLOSED = frozenset({"data", "encrypted_content", "signature"})
"""Fields inside those of messages that nobody but their vendor reads."""
_UNREAD = {"audio": "audio", "images": "image"}
"""Fields of messages that cannot be looked at, and what they are named."""


class GuardrailParameters(msgspec.Struct, frozen=True):
    """What a guardrail's configuration says to Guard; the header `X-Guard-Policy` goes before it."""

    policy: str | None = None


class GuardrailRequest(msgspec.Struct, frozen=True):
    """What LiteLLM took out of one call. Fields that are not known are left alone.

    `texts` and `tool_calls` are checked; `images` are not looked at. `structured_messages` are where the texts come
    from, on the way to a model; what they say besides is checked too.
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
    `unredacted`. `mapped`: whether they are a conversation. `besides`: what rows say that is not among the texts."""

    messages: list[Message]
    besides: list[Message]
    mapped: bool
    texts: list[str]
    unredacted: list[str]
    uninspected: tuple[str, ...]

    def within(self, policy: Policy, rail: Rail) -> list[tuple[Message, Content]]:
        """What of it is checked: the policy's scope of a conversation, else everything."""
        found = in_scope(self.messages, policy.spec.chat) if self.mapped else []
        alone = self.besides if self.mapped else [*self.messages, *self.besides]
        found += [(message, Content(message.text, message.role, rail)) for message in alone]
        return [(message, content) for message, content in found if content.text]

    def characters(self) -> int:
        """How long its messages are."""
        return sum([len(message.text) for message in self.messages])


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
        # Without a word in its scope, a conversation may have some before it.
        earlier = given.characters() if given.mapped and policy.redacting(Rail.INPUT) else 0
        if refused or not (within or earlier):
            return _ENCODER.encode(_answer(asked, given, rail, policy, (), None, refused=refused))
        told = None
        if within:
            told = await moderated(
                service,
                caller,
                [content for _, content in within],
                policy=named,
                cuts=True,
                # What is checked and what is refused was settled under the policy that was named.
                suits=lambda other: _reading(other.spec.chat) == _reading(policy.spec.chat),
            )
        elif caller.limited:
            await admitted(service.gate, caller, earlier)
        used = told.policy if told is not None else policy
        verdicts = found = told.verdicts if told is not None else ()
        redactor = Redactor(used.spec.redaction.style, [message.text for message in given.messages])
        if given.mapped:
            history = await history_of(service.moderator, given.messages, used, tenant=caller.tenant)
            found += history.failed
            for message, cuts in history.cuts:
                redacted(message, cuts, redactor)
            # A call's arguments cannot be given back, and are no reason to block later what has passed once.
            given.unredacted.clear()
        for (message, _), verdict in zip(within, verdicts, strict=True):
            if verdict.cuts:
                redacted(message, verdict.cuts, redactor)
        id = told.id if told is not None else None
        return _ENCODER.encode(_answer(asked, given, rail, used, found, id))

    return Router("", route_handlers=[posted(_PATH, service, checked)], exception_handlers=speaking(_error))


def _reading(chat: Chat) -> tuple[str, int, str]:
    """What of a conversation a policy reads, and whether it refuses what it cannot."""
    return chat.scope, chat.last_k, chat.uninspected


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
        PolicyName.of(policy),
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
    besides = list[Message]()
    if rail is Rail.INPUT:
        known = frozenset([piece.text for piece in [*pieces, *of_calls]])
        for number, row in enumerate(rows):
            author = row.get("role") if isinstance(row, dict) else None
            besides += [
                Message(author if isinstance(author, str) else "", (Piece(text, _noted(unredacted, place)),), (), False)
                for place, text in _unsent(row, f"$.structured_messages[{number}]", known)
            ]
    length = sum([len(piece.text) for piece in [*pieces, *of_calls]]) + sum([len(message.text) for message in besides])
    check_length(length, "$.texts", limits)
    messages = _conversation(rows, pieces, of_calls) if rail is Rail.INPUT else None
    mapped = messages is not None
    if messages is None:
        # Who wrote a text that goes to a model is not said; calls are a model's own.
        author = "" if rail is Rail.INPUT else "assistant"
        messages = [Message(author, (piece,), (), False) for piece in pieces]
        messages += [Message("assistant", (piece,), (), True) for piece in of_calls]
    return _Given(messages, besides, mapped, texts, unredacted, _unseen(asked.images or (), rows))


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


def _unsent(row: Any, path: str, sent: Collection[str]) -> Iterator[tuple[str, str]]:
    """The texts of a message that LiteLLM did not take out of it, each with its place."""
    for name, value in row.items() if isinstance(row, dict) else [("", row)]:
        place = f"{path}.{name[:40]}" if name else path
        if name in ("content", "tool_calls"):
            for number, part in enumerate(value if isinstance(value, list) else [value]):
                text = _part_text(part) if name == "content" else _call_text(part) if part else ""
                if text and text not in sent:
                    yield f"{place}[{number}]" if isinstance(value, list) else place, text
        elif name not in _NAMES and name not in _UNREAD:
            text = _call_text({"function": value}) if name == "function_call" and value else _strings(value)
            if text:
                yield place, text


def _part_text(part: Any) -> str:
    """What a message's content, or one part of it, says; nothing for a part that is named for not being looked at."""
    if isinstance(part, dict):
        if part.get("text") is not None:
            return _strings(part["text"])
        if isinstance(part.get("type"), str):
            return ""
    return _strings(part)


def _strings(value: Any) -> str:
    """The strings inside a JSON value, as far as they are text, one a line."""
    found, left = list[str](), [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, list):
            left += reversed(item)
        elif isinstance(item, dict):
            left += [item[name] for name in reversed(item) if name not in _NAMES and name not in _CLOSED]
    return "\n".join(found)


def _call_text(call: Any) -> str:
    """The strings of a tool call's arguments; of one in an unknown shape all that it has."""
    inside = [(call.get(kind), key) for kind, key in _CALLS] if isinstance(call, dict) else []
    found = [own[key] for own, key in inside if isinstance(own, dict) and isinstance(own.get(key), str)]
    return "\n".join(map(arguments_text, found or [msgspec.json.encode(call).decode()]))


def _unseen(images: Sequence[Any], rows: Sequence[Any]) -> tuple[str, ...]:
    """What is named for not being looked at: images, and parts and fields of messages that are no text."""
    unseen = [f"$.images[{place}]: image" for place in range(len(images))]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            continue
        place_of_row = f"$.structured_messages[{number}]"
        unseen += [f"{place_of_row}.{name}: {kind}" for name, kind in _UNREAD.items() if row.get(name)]
        content = row.get("content")
        for place, part in enumerate(content if isinstance(content, list) else ()):
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind != "image_url" and part.get("text") is None:
                unseen.append(f"{place_of_row}.content[{place}]: {kind[:40]}")
    return tuple(unseen)

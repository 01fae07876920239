"""`POST /v1/moderations`, OpenAI's and Mistral's, and Mistral's `POST /v1/chat/moderations`.

The answer is Mistral's where the model's name is. Any model's name is taken; one that names a policy chooses it.
`/v1/classifications`, Mistral's older route for models of one's own, is left out: there is nothing behind it here.
"""

from typing import Any

import msgspec
from litestar import Router
from litestar.types import Scope

from guard.access import Caller
from guard.api.body import decoded
from guard.api.openai_errors import OPENAI_EXCEPTION_HANDLERS, ErrorBody
from guard.api.openapi import describe_path, described
from guard.api.posted import posted
from guard.api.schemas import PolicyName, check_count, check_length, checked_text
from guard.api.verdicts import Moderated, moderated, policy_named
from guard.chat.conversation import context_of, message_of
from guard.config import Limits
from guard.content import Content, Rail
from guard.dialects.mistral import MistralResult, is_mistrals, mistral_result
from guard.dialects.openai import OpenAIResult, openai_result
from guard.dialects.taxonomy import unfounded
from guard.errors import InvalidContent, ModerationFailed
from guard.service import Service

__all__ = ["router"]

_OPENAIS_MODEL = "omni-moderation-latest"
_MISTRALS_MODEL = "mistral-moderation-latest"
_TEXT_TYPES = frozenset({"text", "input_text", "output_text"})
_ERRORS = (400, 401, 403, 404, 408, 413, 415, 429, 503)


class ImageUrl(msgspec.Struct, frozen=True):
    """An image's address, or the image itself as a `data:` address."""

    url: str


class ModerationPart(msgspec.Struct, frozen=True):
    """A part of an input: a text, or an image, which is not looked at."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class ModerationAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be in a dialect's request for Guard itself. It is Guard's own, so a misspelt field is a mistake."""

    policy: str | None = None
    rail: Rail = Rail.INPUT


class ModerationRequest(msgspec.Struct, frozen=True):
    """A text, several texts, or one text in parts. Fields that are not known are left alone."""

    input: str | list[str | ModerationPart]
    model: str | None = None
    guard: ModerationAsked | None = None


class ModerationAnswer(msgspec.Struct, frozen=True):
    """One result for each text, in order. `guard` names the policy."""

    id: str
    model: str
    results: list[OpenAIResult]
    guard: PolicyName


class ChatModerationRequest(msgspec.Struct, frozen=True):
    """A conversation, or several: of each the last turn is moderated, in its context."""

    input: list[dict[str, Any] | list[dict[str, Any]]]
    model: str | None = None
    guard: ModerationAsked | None = None


class ChatModerationAnswer(msgspec.Struct, frozen=True):
    """One result for each conversation, or for each text, in order. `guard` names the policy."""

    id: str
    model: str
    results: list[MistralResult]
    guard: PolicyName


_DECODER = msgspec.json.Decoder(ModerationRequest)
_CHAT_DECODER = msgspec.json.Decoder(ChatModerationRequest)
_ENCODER = msgspec.json.Encoder()
_TEXTS = described(
    (ModerationAnswer, ChatModerationAnswer),
    body=ModerationRequest,
    text="One result for each text, in OpenAI's form, or in Mistral's where the model is Mistral's",
    errors=_ERRORS,
    error=ErrorBody,
)(
    operation_id="Moderations",
    summary="Moderate texts, in OpenAI's or Mistral's words",
    description="OpenAI's moderations. The policy is named by `X-Guard-Policy`, by `model`, or in the body's `guard`.",
    tags=["dialects"],
)
_CHATS = described(
    ChatModerationAnswer,
    body=ChatModerationRequest,
    text="One result for each conversation, in Mistral's form",
    errors=_ERRORS,
    error=ErrorBody,
)(
    operation_id="ChatModerations",
    summary="Moderate the last turns of conversations, in Mistral's words",
    description="Mistral's chat moderations. The policy is named as in `/v1/moderations`.",
    tags=["dialects"],
)


def router(service: Service) -> Router:
    """The routes, bound to their service."""
    limits = service.settings.limits
    describe_path("/v1/moderations", post=_TEXTS)
    describe_path("/v1/chat/moderations", post=_CHATS)

    async def given(
        scope: Scope, caller: Caller, contents: list[Content], model: str | None, ours: ModerationAsked | None
    ) -> Moderated:
        named = (ours.policy if ours is not None else None) or policy_named(service, caller, scope, model)
        return await moderated(service, caller, contents, policy=named)

    async def texts(scope: Scope, caller: Caller, body: bytes) -> bytes:
        asked = decoded(body, _DECODER)
        contents = _contents(asked, limits)
        told = await given(scope, caller, contents, asked.model, asked.guard)
        if is_mistrals(asked.model):
            return _ENCODER.encode(_mistrals(told, contents, asked.model))
        refusing = told.policy.spec.chat.uninspected == "refuse"
        results = [
            openai_result(told.policy, verdict, refused=refusing and bool(content.uninspected))
            for content, verdict in zip(contents, told.verdicts, strict=True)
        ]
        answer = ModerationAnswer(_id(told), asked.model or _OPENAIS_MODEL, results, PolicyName.of(told.policy))
        return _ENCODER.encode(answer)

    async def conversations(scope: Scope, caller: Caller, body: bytes) -> bytes:
        asked = decoded(body, _CHAT_DECODER, '{"input": [{"role": "user", "content": "a text"}]}')
        contents = _conversations(asked, limits)
        told = await given(scope, caller, contents, asked.model, asked.guard)
        return _ENCODER.encode(_mistrals(told, contents, asked.model))

    return Router(
        "",
        route_handlers=[
            posted("/v1/moderations", service, texts),
            posted("/v1/chat/moderations", service, conversations),
        ],
        exception_handlers=OPENAI_EXCEPTION_HANDLERS,
    )


def _mistrals(told: Moderated, contents: list[Content], model: str | None) -> ChatModerationAnswer:
    """Mistral's answer. It has scores alone, so what they cannot say is an error.

    Raises:
        ModerationFailed: a stage failed, and the policy lets nothing pass then.
        InvalidContent: a part cannot be looked at, and the policy refuses that.
    """
    unseen = [part for content in contents for part in content.uninspected]
    if unseen and told.policy.spec.chat.uninspected == "refuse":
        place, _, kind = unseen[0].partition(": ")
        message = f"`{kind}` is not looked at, and the policy `{told.policy.name}` refuses that: send the text alone"
        raise InvalidContent(message, path=place)
    if any(unfounded(verdict) for verdict in told.verdicts):
        raise ModerationFailed
    results = [mistral_result(told.policy, verdict, model) for verdict in told.verdicts]
    return ChatModerationAnswer(_id(told), model or _MISTRALS_MODEL, results, PolicyName.of(told.policy))


def _id(told: Moderated) -> str:
    """The call's own id, in OpenAI's form; its records have it too."""
    return f"modr-{told.id.removeprefix('mod_')}"


def _contents(asked: ModerationRequest, limits: Limits) -> list[Content]:
    """What is to be moderated, in order: one text, several, or one in parts."""
    rail = asked.guard.rail if asked.guard is not None else Rail.INPUT
    match asked.input:
        case str() as text:
            return [Content.of(checked_text(text, "$.input", limits), rail=rail)]
        case []:
            raise InvalidContent("an empty list: send at least one text", path="$.input")
        case [str(), *_] as texts:
            check_count(len(texts), "texts in one request", limits)
            return [
                Content.of(checked_text(_text(text, f"$.input[{n}]"), f"$.input[{n}]", limits), rail=rail)
                for n, text in enumerate(texts)
            ]
        case parts:
            return [_joined(parts, rail, limits)]


def _text(given: object, path: str) -> str:
    if not isinstance(given, str):
        raise InvalidContent("a list holds either texts or the parts of one text, not both", path=path)
    return given


def _joined(parts: list[str | ModerationPart], rail: Rail, limits: Limits) -> Content:
    """The texts among the parts as one; the others are named."""
    texts, unseen = [], []
    for number, part in enumerate(parts):
        path = f"$.input[{number}]"
        if isinstance(part, str):
            raise InvalidContent("a list holds either texts or the parts of one text, not both", path=path)
        if part.type in _TEXT_TYPES and part.text is not None:
            texts.append(part.text)
        elif part.type in _TEXT_TYPES:
            raise InvalidContent(f"a part of type `{part.type}` needs a text", path=f"{path}.text")
        else:
            unseen.append(f"{path}: {part.type[:40]}")
    text = "\n".join(texts)
    if not text:
        # An answer would say that this was looked at.
        raise InvalidContent("no part holds a text, and images are not looked at: send a text", path="$.input")
    check_length(len(text), "$.input", limits)
    return Content(text, rail=rail, uninspected=tuple(unseen))


def _conversations(asked: ChatModerationRequest, limits: Limits) -> list[Content]:
    """The last turn of each conversation, in its context; one that is the assistant's is what came from a model."""
    match asked.input:
        case []:
            raise InvalidContent("an empty list: send a conversation with at least one message", path="$.input")
        case [dict(), *_] as messages:
            conversations: list[tuple[object, str]] = [(messages, "$.input")]
        case several:
            check_count(len(several), "conversations in one request", limits)
            conversations = [(one, f"$.input[{n}]") for n, one in enumerate(several)]
    return [_last_turn(messages, path, limits) for messages, path in conversations]


def _last_turn(given: object, path: str, limits: Limits) -> Content:
    if not isinstance(given, list) or not given:
        raise InvalidContent("expected a conversation: a list with at least one message", path=path)
    check_count(len(given), "messages in one conversation", limits)
    messages = [message_of(message, f"{path}[{n}]") for n, message in enumerate(given)]
    last, context = messages[-1], context_of(messages, len(messages) - 1)
    check_length(sum(len(message.text) for message in messages), path, limits)
    if not last.text:
        raise InvalidContent("the last message holds no text to moderate", path=f"{path}[{len(given) - 1}].content")
    rail = Rail.OUTPUT if last.role == "assistant" else Rail.INPUT
    unseen = tuple([part for message in messages for part in message.uninspected])
    return Content(last.text, last.role, rail, context, unseen)

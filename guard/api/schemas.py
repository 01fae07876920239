"""What goes over the wire on the native routes, and how it becomes `Content`."""

from collections.abc import Iterable
from typing import Any

import msgspec

from guard.api.chat_options import GuardField, MistralGuardrail, ModerationField
from guard.config import Limits
from guard.content import Content, Rail, Turn
from guard.errors import InvalidContent, LimitExceeded
from guard.moderator import Moderator
from guard.policy import Policy, Rollout
from guard.verdict import Verdict

__all__ = [
    "ChatAnswer",
    "ChatRequest",
    "Health",
    "Message",
    "Models",
    "ModerateRequest",
    "ModerateResponse",
    "Part",
    "PolicyName",
    "PolicyPage",
    "PolicySummary",
    "PolicyValidation",
    "Readiness",
    "Usage",
    "ValidationProblem",
    "check_count",
    "check_length",
    "checked_text",
    "contents_of",
    "models_of",
    "opening",
]

_SYSTEM = ("system", "developer")
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class Part(msgspec.Struct, frozen=True):
    """One part of a message: a text, or something that is named in `uninspected`."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a conversation."""

    role: str
    content: str | list[Part] | None
    name: str | None = None


class ModerateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text, several texts, or one conversation whose last turn is judged in its context."""

    input: str | list[str | Message]
    policy: str | None = None
    rail: Rail | None = None
    categories: list[str] | None = None
    explain: bool = False
    store: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """What Guard reads of OpenAI's chat request; everything else goes to the upstream as it came."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = None
    n: int | None = None
    guard: GuardField | None = None
    moderation: ModerationField | None = None
    guardrails: list[MistralGuardrail] | None = None
    safe_prompt: bool | None = None


class ChatAnswer(msgspec.Struct, frozen=True):
    """OpenAI's answer, whose `guard` says what the rails found."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    guard: dict[str, Any]
    moderation: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


class PolicyName(msgspec.Struct, frozen=True):
    """Which version of which policy gave the verdicts."""

    name: str
    fingerprint: str

    @classmethod
    def of(cls, policy: Policy) -> "PolicyName":
        """The name of this one."""
        return cls(policy.name, policy.fingerprint)


class Models(msgspec.Struct, frozen=True):
    """The models behind the verdicts; `judge` is null where none is configured."""

    screen: str
    judge: str | None


def models_of(moderator: Moderator) -> Models:
    """The names of the models that a moderator uses."""
    return Models(moderator.screen.name, moderator.judge.name if moderator.judge is not None else None)


class Usage(msgspec.Struct, frozen=True):
    """What the request cost."""

    texts: int
    judged: int
    judge_tokens: int
    milliseconds: float


class ModerateResponse(msgspec.Struct, frozen=True):
    """One result per text, in the order of the input."""

    id: str
    policy: PolicyName
    models: Models
    results: tuple[Verdict, ...]
    usage: Usage


class PolicySummary(msgspec.Struct, frozen=True):
    """A loaded policy in the list."""

    name: str
    fingerprint: str
    description: str
    categories: tuple[str, ...]
    extends: str | None


class PolicyPage(msgspec.Struct, frozen=True):
    """The loaded policies."""

    policies: tuple[PolicySummary, ...]
    default: str


class ValidationProblem(msgspec.Struct, frozen=True):
    """One mistake in a policy text."""

    line: int
    path: str
    message: str


class PolicyValidation(msgspec.Struct, frozen=True):
    """What the loader says of a policy text."""

    valid: bool
    name: str | None
    fingerprint: str | None
    problems: tuple[ValidationProblem, ...]


class Health(msgspec.Struct, frozen=True):
    """The process is alive."""

    status: str
    version: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests should be sent here, and what is not as it should be.

    `policies_rejected` lists the mistakes of a policy folder that is kept out; the policies before
    it stay in use. `keys_rejected` says what is wrong with a file of keys that is kept out; null where none is.
    `store_problem` says what keeps the store from taking records; null where nothing does.
    `rollouts` says what is tried beside which policy.
    """

    status: str
    policies: dict[str, str]
    policies_loaded_at: float
    policies_rejected: tuple[str, ...]
    models: Models
    keys_rejected: str | None = None
    store_problem: str | None = None
    rollouts: dict[str, Rollout] = {}


def opening(turns: Iterable[Turn]) -> str:
    """What a conversation begins with, as long as it grows: its first turn that is not the application's own."""
    return next((turn.text for turn in turns if turn.role not in _SYSTEM), "")


def contents_of(request: ModerateRequest, limits: Limits) -> list[Content]:
    """What the request wants moderated, in order.

    Raises:
        LimitExceeded: too many or too long texts.
        InvalidContent: nothing to moderate, or texts and messages mixed.
    """
    match request.input:
        case str() as text:
            contents = [Content.of(checked_text(text, "$.input", limits), rail=request.rail or Rail.INPUT)]
        case []:
            raise InvalidContent("`input` is an empty list: send at least one text, or a conversation with a turn")
        case [str(), *_] as texts:
            contents = _texts(texts, request.rail or Rail.INPUT, limits)
        case messages:
            contents = [_conversation(messages, request.rail, limits)]
    return contents


def _texts(texts: list[Any], rail: Rail, limits: Limits) -> list[Content]:
    check_count(len(texts), "texts in one request", limits)
    contents = []
    for index, text in enumerate(texts):
        path = f"$.input[{index}]"
        if not isinstance(text, str):
            raise InvalidContent("a list holds either texts or the messages of one conversation, not both", path=path)
        contents.append(Content.of(checked_text(text, path, limits), rail=rail))
    return contents


def _conversation(messages: list[Any], rail: Rail | None, limits: Limits) -> Content:
    """The last turn, with the turns before it as its context."""
    check_count(len(messages), "messages in one conversation", limits)
    turns, uninspected = [], []
    for index, message in enumerate(messages):
        path = f"$.input[{index}]"
        if not isinstance(message, Message):
            raise InvalidContent("a list holds either texts or the messages of one conversation, not both", path=path)
        if message.role not in ROLES:
            raise InvalidContent(
                f"role `{message.role[:40]}` is unknown; expected one of {', '.join(sorted(ROLES))}",
                path=f"{path}.role",
            )
        text, unseen = _message_text(message, f"{path}.content")
        turns.append(Turn(message.role, text))
        uninspected += unseen
    length = sum(len(turn.text) for turn in turns)
    check_length(length, "$.input", limits)
    last = turns[-1]
    if not last.text:
        raise InvalidContent("the last message holds no text to moderate", path=f"$.input[{len(turns) - 1}].content")
    if rail is None:
        rail = Rail.OUTPUT if last.role == "assistant" else Rail.INPUT
    return Content(last.text, last.role, rail, tuple(turns[:-1]), tuple(uninspected))


def _message_text(message: Message, path: str) -> tuple[str, list[str]]:
    """A message's texts, joined, and the names of its other parts."""
    if message.content is None or isinstance(message.content, str):
        return message.content or "", []
    texts, unseen = [], []
    for index, part in enumerate(message.content):
        if part.text is not None and part.type in ("text", "input_text", "output_text"):
            texts.append(part.text)
        else:
            unseen.append(f"{path}[{index}]: {part.type[:40]}")
    return "\n".join(texts), unseen


def checked_text(text: str, path: str, limits: Limits) -> str:
    """A text that can be moderated. Raises InvalidContent, LimitExceeded."""
    if not text:
        raise InvalidContent("the text is empty: there is nothing to moderate", path=path)
    check_length(len(text), path, limits)
    return text


def check_count(count: int, what: str, limits: Limits, path: str = "$.input") -> None:
    """Raises LimitExceeded where that is too many of `what` for one request."""
    if count > limits.max_texts:
        message = f"{count} {what}; the limit is {limits.max_texts} (max_texts)"
        raise LimitExceeded(message, limit="max_texts", allowed=limits.max_texts, path=path)


def check_length(length: int, path: str, limits: Limits) -> None:
    """Raises LimitExceeded where so many characters are too many for one text."""
    if length > limits.max_characters:
        raise LimitExceeded(
            f"{length} characters; the limit is {limits.max_characters} (max_characters)",
            limit="max_characters",
            allowed=limits.max_characters,
            path=path,
        )

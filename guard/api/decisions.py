"""`POST /v1/decisions`: typed questions about one text, answered with probabilities by the configured judge.

OpenAI's route of autumn 2026, errors included. `return_prompt_token_ids: true` is ours: each answer then has the ids
of the tokens that the judge read and of its labels, where the judge knows them, so that anybody with the model can
compute the same.
"""

import time
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, post
from msgspec import Meta

from guard.api.access import admitted, caller_of
from guard.api.body import answer, decoded, read
from guard.api.openai_errors import OPENAI_EXCEPTION_HANDLERS, ErrorBody
from guard.api.openapi import described
from guard.api.presence import while_present
from guard.api.schemas import check_length
from guard.config import Limits
from guard.content import Content, Turn
from guard.errors import InvalidContent, NoJudge
from guard.judge import Answers, Inquiry
from guard.question import Answer, Choice, Option, Predicate, Question, Scale
from guard.service import Service
from guard.telemetry import traced

__all__ = ["router"]

Value = str | bool | int | float
Words = Annotated[str, Meta(min_length=1)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the request; unknown fields are refused."""


class DecisionText(_Body, frozen=True):
    """A text part of a message."""

    text: str
    type: str = "input_text"


class DecisionMessage(_Body, frozen=True):
    """One turn; the last one is what the questions are about."""

    role: str
    content: str | list[DecisionText]
    type: str = "message"


class DecisionChoice(_Body, frozen=True):
    """One value to choose."""

    value: Value
    description: str = ""


class DecisionLevel(_Body, frozen=True):
    """One level of a score."""

    label: Words
    description: str = ""


class AskPredicate(_Body, frozen=True, tag="predicate"):
    """Is the statement true of the text?"""

    instructions: Words
    name: str | None = None


class AskChoice(_Body, frozen=True, tag="choice"):
    """Which of the values is it?"""

    instructions: Words
    choices: Annotated[list[DecisionChoice], Meta(min_length=2, max_length=255)]
    name: str | None = None


class AskScore(_Body, frozen=True, tag="score"):
    """How much, from the first level to the last?"""

    instructions: Words
    levels: Annotated[list[DecisionLevel], Meta(min_length=2, max_length=10)]
    name: str | None = None


class DecisionRequest(_Body, frozen=True):
    """One input and the questions about it."""

    input: str | Annotated[list[DecisionMessage], Meta(min_length=1)]
    questions: Annotated[list[AskPredicate | AskChoice | AskScore], Meta(min_length=1, max_length=200)]
    model: str | None = None
    safety_identifier: str | None = None
    return_prompt_token_ids: bool = False


class ChoiceProbability(msgspec.Struct, frozen=True):
    """A value and its probability."""

    value: Value
    probability: float


class LevelProbability(msgspec.Struct, frozen=True):
    """A level, counted from 0, and its probability."""

    value: int
    label: str
    probability: float


class _Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What every decision has. `confidence` is the probability of the best option among all tokens; `error` how far a
    probability may be off, where the judge's server tells only its most likely tokens."""

    name: str | None
    error: float | msgspec.UnsetType = msgspec.UNSET
    prompt_token_ids: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    label_token_ids: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET


class DecidedPredicate(_Decided, frozen=True, tag="predicate", kw_only=True):
    """The probability that the statement is true."""

    probability: float
    confidence: float


class DecidedChoice(_Decided, frozen=True, tag="choice", kw_only=True):
    """The most probable value, and all of them."""

    choice: Value
    probabilities: tuple[ChoiceProbability, ...]
    confidence: float


class DecidedScore(_Decided, frozen=True, tag="score", kw_only=True):
    """The expected level, and the levels' probabilities."""

    score: float
    probabilities: tuple[LevelProbability, ...]
    confidence: float


class InputDetails(msgspec.Struct, frozen=True):
    """Tokens that the judge had from before."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct, frozen=True):
    """Nothing is generated."""

    reasoning_tokens: int = 0


class DecisionUsage(msgspec.Struct, frozen=True):
    """Tokens that the judge read."""

    input_tokens: int
    input_tokens_details: InputDetails
    total_tokens: int
    output_tokens: int = 0
    output_tokens_details: OutputDetails = OutputDetails()


class DecisionResponse(msgspec.Struct, frozen=True):
    """One answer per question, in order."""

    model: str
    answers: tuple[DecidedPredicate | DecidedChoice | DecidedScore, ...]
    usage: DecisionUsage


_DECODER = msgspec.json.Decoder(DecisionRequest)
_NO_JUDGE = (
    "No judge is configured: start Guard with GUARD_JUDGE set to a Mistral-7B for this machine, or with "
    "GUARD_JUDGE_URL and GUARD_JUDGE_MODEL set to an OpenAI-compatible server and one of its models (docs/judge.md)"
)


def router(service: Service) -> Router:
    """The route that decides, bound to its service."""
    judge = service.moderator.judge
    limits = service.settings.limits

    @post(
        "/v1/decisions",
        status_code=200,
        operation_class=described(
            DecisionResponse,
            body=DecisionRequest,
            text="One answer per question",
            errors=(400, 401, 403, 408, 413, 415, 429, 503),
            error=ErrorBody,
        ),
        summary="Typed questions about a text, answered with probabilities",
        tags=["decisions"],
    )
    async def decide(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Asks the judge; nothing is generated, and nothing is parsed."""
        caller = caller_of(request.scope, service.gate)
        asked = decoded(await read(request.scope, request.receive, limits.max_body_bytes), _DECODER)
        content = _content(asked, limits)
        inquiry = Inquiry(
            content,
            tuple([_question(question, number) for number, question in enumerate(asked.questions)]),
            show_prompt=asked.return_prompt_token_ids,
            tenant=caller.tenant,
        )
        if judge is None:
            raise NoJudge(_NO_JUDGE)
        policy = service.book[service.gate.policy(caller, None, service.settings.default_policy)]
        await admitted(service.gate, caller, len(content.text))
        with while_present(request.receive), traced("judge"):
            (told,) = await judge.answer([inquiry], deadline=time.monotonic() + policy.spec.deadline_ms / 1e3)
        return answer(_response(judge.name, asked, told))

    return Router("", route_handlers=[decide], exception_handlers=OPENAI_EXCEPTION_HANDLERS)


def _content(asked: DecisionRequest, limits: Limits) -> Content:
    if isinstance(asked.input, str):
        turns = [Turn("", asked.input)]
    else:
        turns = [Turn(message.role, _text(message, number)) for number, message in enumerate(asked.input)]
    check_length(sum(len(turn.text) for turn in turns), "$.input", limits)
    if not turns[-1].text:
        raise InvalidContent("the input holds no text", path="$.input")
    return Content(turns[-1].text, turns[-1].role, context=tuple(turns[:-1]))


def _text(message: DecisionMessage, number: int) -> str:
    if isinstance(message.content, str):
        return message.content
    for part, found in enumerate(message.content):
        if found.type not in ("input_text", "output_text", "text"):
            raise InvalidContent(
                f"parts of type `{found.type[:40]}` cannot be read: only texts",
                path=f"$.input[{number}].content[{part}].type",
            )
    return "\n".join(found.text for found in message.content)


def _question(asked: AskPredicate | AskChoice | AskScore, number: int) -> Question:
    match asked:
        case AskPredicate(instructions=words):
            return Predicate(words)
        case AskChoice(instructions=words, choices=choices):
            # `true` and 1 are equal in Python and two values in JSON.
            written = [msgspec.json.encode(choice.value) for choice in choices]
            if len(set(written)) != len(written):
                raise InvalidContent("two choices have the same value", path=f"$.questions[{number}].choices")
            return Choice(words, tuple([Option(_word(choice.value), choice.description) for choice in choices]))
        case AskScore(instructions=words, levels=levels):
            if len({level.label for level in levels}) != len(levels):
                raise InvalidContent("two levels have the same label", path=f"$.questions[{number}].levels")
            return Scale(words, tuple([Option(level.label, level.description) for level in levels]))


def _word(value: Value) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _response(model: str, asked: DecisionRequest, told: Answers) -> DecisionResponse:
    found = [_decided(question, said) for question, said in zip(asked.questions, told.answers, strict=True)]
    usage = DecisionUsage(told.tokens, InputDetails(told.cached_tokens), told.tokens)
    return DecisionResponse(model, tuple(found), usage)


def _decided(
    asked: AskPredicate | AskChoice | AskScore, said: Answer
) -> DecidedPredicate | DecidedChoice | DecidedScore:
    more: dict[str, Any] = {"name": asked.name, "confidence": said.confidence}
    if said.error:
        more["error"] = said.error
    if said.prompt:
        more |= {"prompt_token_ids": said.prompt, "label_token_ids": said.labels}
    match asked:
        case AskPredicate():
            return DecidedPredicate(probability=said.probabilities[0], **more)
        case AskChoice(choices=choices):
            values = [choice.value for choice in choices]
            found = tuple([ChoiceProbability(v, p) for v, p in zip(values, said.probabilities, strict=True)])
            return DecidedChoice(choice=values[said.best], probabilities=found, **more)
        case AskScore(levels=levels):
            each = tuple(
                [
                    LevelProbability(n, level.label, p)
                    for n, (level, p) in enumerate(zip(levels, said.probabilities, strict=True))
                ]
            )
            return DecidedScore(score=said.expected, probabilities=each, **more)

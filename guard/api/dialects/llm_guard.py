"""`POST /analyze/prompt`, `/analyze/output`, `/scan/prompt` and `/scan/output`, LLM Guard's.

`analyze` gives the text back, redacted as the policy says; `scan` does not. Placeholders are the policy's, and there is
no vault that would remember them: `Deanonymize` is left out.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Request, Response, Router
from litestar.types import Scope

from guard.access import Caller
from guard.api.body import decoded
from guard.api.errors import ProblemDetails, speaking
from guard.api.openapi import describe_path, described
from guard.api.posted import posted
from guard.api.schemas import PolicyName, check_count, check_length
from guard.api.verdicts import Moderated, moderated, policy_named
from guard.config import Limits
from guard.content import Content, Rail, Turn
from guard.dialects.llm_guard import Scanned, checked, scanned
from guard.dialects.taxonomy import unfounded
from guard.errors import InvalidContent, ModerationFailed
from guard.service import Service
from guard.verdict import Verdict

__all__ = ["router"]

_ERRORS = (401, 403, 404, 408, 413, 415, 422, 429, 503)
_EXAMPLES = {Rail.INPUT: '{"prompt": "a text"}', Rail.OUTPUT: '{"prompt": "a text", "output": "a text"}'}


class PromptRequest(msgspec.Struct, frozen=True):
    """A prompt, and scanners that are not wanted. Fields that are not known are left alone."""

    prompt: str
    scanners_suppress: list[str] = []


class OutputRequest(msgspec.Struct, frozen=True):
    """A model's output with the prompt that it answers, and scanners that are not wanted."""

    prompt: str
    output: str
    scanners_suppress: list[str] = []


class Findings(msgspec.Struct, frozen=True):
    """The policy, and the text's whole verdict."""

    policy: PolicyName
    result: Verdict


class ScanAnswer(msgspec.Struct, frozen=True):
    """Whether the text may go on, and each scanner's risk from -1 to 1; `guard` is our own verdict."""

    is_valid: bool
    scanners: dict[str, float]
    guard: Findings


class AnalyzePromptAnswer(msgspec.Struct, frozen=True):
    """The same, and the prompt as the policy would have it."""

    sanitized_prompt: str
    is_valid: bool
    scanners: dict[str, float]
    guard: Findings


class AnalyzeOutputAnswer(msgspec.Struct, frozen=True):
    """The same, and the output as the policy would have it."""

    sanitized_output: str
    is_valid: bool
    scanners: dict[str, float]
    guard: Findings


class FieldError(msgspec.Struct, frozen=True):
    """One place in the request, as FastAPI names it, and what is wrong there."""

    loc: tuple[str, ...]
    msg: str
    type: str


class ScanError(msgspec.Struct, frozen=True):
    """The body of every error: LLM Guard sends `message` and `details`, its document promises `detail`."""

    message: str
    details: tuple[FieldError, ...] | None
    detail: str | tuple[FieldError, ...]


_PROMPTS = msgspec.json.Decoder(PromptRequest)
_OUTPUTS = msgspec.json.Decoder(OutputRequest)
_ENCODER = msgspec.json.Encoder()


def router(service: Service) -> Router:
    """The routes, bound to their service."""
    limits = service.settings.limits
    _describe()

    async def told(
        scope: Scope, caller: Caller, asked: PromptRequest | OutputRequest, content: Content
    ) -> tuple[Scanned, Findings]:
        policy, suppressed = policy_named(service, caller, scope), asked.scanners_suppress
        check_count(len(suppressed), "scanners in `scanners_suppress`", limits)
        only = None
        if suppressed:
            named = service.book[service.gate.policy(caller, policy, service.settings.default_policy)]
            only = checked(named, content.rail, suppressed)
            if not only:
                raise InvalidContent("no scanner is left: suppress fewer", path="$.scanners_suppress")
        found = await moderated(service, caller, [content], policy=policy, only=only, explained=True)
        return _findings(found, content.rail, suppressed)

    async def prompt(scope: Scope, caller: Caller, body: bytes) -> tuple[str, Scanned, Findings]:
        asked = decoded(body, _PROMPTS, _EXAMPLES[Rail.INPUT])
        check_length(len(asked.prompt), "$.prompt", limits)
        return asked.prompt, *await told(scope, caller, asked, Content(asked.prompt, role="user"))

    async def output(scope: Scope, caller: Caller, body: bytes) -> tuple[str, Scanned, Findings]:
        asked = decoded(body, _OUTPUTS, _EXAMPLES[Rail.OUTPUT])
        return asked.output, *await told(scope, caller, asked, _answer(asked, limits))

    async def analyze_prompt(scope: Scope, caller: Caller, body: bytes) -> bytes:
        text, found, ours = await prompt(scope, caller, body)
        return _ENCODER.encode(AnalyzePromptAnswer(_sanitized(text, ours), found.is_valid, found.scanners, ours))

    async def analyze_output(scope: Scope, caller: Caller, body: bytes) -> bytes:
        text, found, ours = await output(scope, caller, body)
        return _ENCODER.encode(AnalyzeOutputAnswer(_sanitized(text, ours), found.is_valid, found.scanners, ours))

    async def scan_prompt(scope: Scope, caller: Caller, body: bytes) -> bytes:
        _, found, ours = await prompt(scope, caller, body)
        return _ENCODER.encode(ScanAnswer(found.is_valid, found.scanners, ours))

    async def scan_output(scope: Scope, caller: Caller, body: bytes) -> bytes:
        _, found, ours = await output(scope, caller, body)
        return _ENCODER.encode(ScanAnswer(found.is_valid, found.scanners, ours))

    routes: dict[str, Callable[[Scope, Caller, bytes], Awaitable[bytes]]] = {
        "/analyze/prompt": analyze_prompt,
        "/analyze/output": analyze_output,
        "/scan/prompt": scan_prompt,
        "/scan/output": scan_output,
    }
    return Router(
        "",
        route_handlers=[posted(path, service, answered) for path, answered in routes.items()],
        exception_handlers=_HANDLERS,
    )


def _describe() -> None:
    kinds = (
        ("/analyze/prompt", "AnalyzePrompt", PromptRequest, AnalyzePromptAnswer),
        ("/analyze/output", "AnalyzeOutput", OutputRequest, AnalyzeOutputAnswer),
        ("/scan/prompt", "ScanPrompt", PromptRequest, ScanAnswer),
        ("/scan/output", "ScanOutput", OutputRequest, ScanAnswer),
    )
    for path, name, body, answer in kinds:
        verb, what = path.split("/")[1:]
        operation = described(answer, body=body, text="Whether the text may go on", errors=_ERRORS, error=ScanError)(
            operation_id=name,
            summary=f"{verb.capitalize()} a model's {what}, in LLM Guard's words",
            description="The policy is named by `X-Guard-Policy`.",
            tags=["dialects"],
        )
        describe_path(path, post=operation)


def _answer(asked: OutputRequest, limits: Limits) -> Content:
    """The output, after the prompt that it answers."""
    check_length(len(asked.prompt) + len(asked.output), "$.output", limits)
    context = (Turn("user", asked.prompt),) if asked.prompt else ()
    return Content(asked.output, "assistant", Rail.OUTPUT, context)


def _findings(found: Moderated, rail: Rail, suppressed: list[str]) -> tuple[Scanned, Findings]:
    (verdict,) = found.verdicts
    if unfounded(verdict):
        raise ModerationFailed
    result = scanned(found.policy, verdict, rail, suppressed)
    if not result.scanners:
        message = f"nobody can score what policy `{found.policy.name}` asks of this text: name another policy"
        raise InvalidContent(message, path="$")
    name = PolicyName.of(found.policy)
    # Which rules matched has been read; the explanation quotes.
    return result, Findings(name, msgspec.structs.replace(verdict, explanation=msgspec.UNSET))


def _sanitized(text: str, ours: Findings) -> str:
    return ours.result.redacted if ours.result.redacted is not None else text


def _told(problem: ProblemDetails) -> ScanError:
    kind = problem.type.rpartition(":")[2].replace("-", "_")
    if problem.status != 400:
        return ScanError(problem.detail, None, problem.detail)
    details = tuple([FieldError(_place(detail.path), detail.message, kind) for detail in problem.errors])
    details = details or (FieldError(("body",), problem.detail, kind),)
    return ScanError("Validation failed", details, details)


def _place(path: str) -> tuple[str, ...]:
    field = path.removeprefix("$").removeprefix(".")
    return ("body", *field.split(".")) if field else ("body",)


_SPEAKING = speaking(_told)


def _handle(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """As FastAPI has it, what is wrong in a body is 422, no JSON included."""
    response: Response[bytes] = _SPEAKING[Exception](request, exc)
    if response.status_code == 400:
        response.status_code = 422
    return response


_HANDLERS: dict[Any, Any] = dict.fromkeys(_SPEAKING, _handle)

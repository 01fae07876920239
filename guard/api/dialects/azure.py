"""`POST /contentsafety/text:analyze` and `text:shieldPrompt`, Azure AI Content Safety's.

`image:analyze` is there to say that images are not looked at. Blocklists are the policy's term lists: they are edited
there, so Azure's routes for editing them are left out.
"""

import asyncio
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import parse_qs

import msgspec
from litestar import Router
from litestar.openapi.spec import OpenAPIType, Parameter, Schema
from litestar.types import Scope

from guard.access import Caller
from guard.api.body import decoded
from guard.api.errors import ProblemDetails, Unread, speaking
from guard.api.openapi import describe_path, described
from guard.api.posted import posted
from guard.api.schemas import PolicyName, check_count, check_length, checked_text
from guard.api.verdicts import Moderated, moderated, policy_named
from guard.config import Limits
from guard.content import Content
from guard.dialects.azure import (
    CATEGORIES,
    AzureCategory,
    BlocklistMatch,
    CategorySeverity,
    OutputType,
    attacked,
    matches,
    searched,
    severities,
)
from guard.dialects.taxonomy import unfounded
from guard.errors import InvalidContent, LimitExceeded, ModerationFailed
from guard.policy import Policy
from guard.service import Service
from guard.verdict import Verdict

__all__ = ["router"]

MOST_CHARACTERS = 10_000
"""Code points of one text, or of all documents together: Azure's own limit."""
MOST_DOCUMENTS = 5
_LONG = 2_000
"""Characters from which a text's listed terms are told in a thread, for others wait on the loop."""

VERSIONS = (
    "2023-10-01",
    "2023-10-15-preview",
    "2023-10-30-preview",
    "2023-11-30-preview",
    "2023-12-30-preview",
    "2024-02-15-preview",
    "2024-04-15-preview",
    "2024-09-01",
    "2024-09-15-preview",
    "2024-12-15-preview",
    "2026-05-15-preview",
)
"""Those whose answers have this shape; before them there was another."""

_CODES = {
    "missing-api-version": "MissingApiVersionParameter",
    "unsupported-api-version": "UnsupportedApiVersionValue",
    "unauthenticated": "401",
    "forbidden": "PermissionDenied",
    "policy-not-found": "ResourceNotFound",
    "rate-limited": "TooManyRequests",
    "overloaded": "ServerBusy",
    "moderation-failed": "ServerBusy",
    "store-failed": "ServerBusy",
    "internal-error": "InternalError",
}
"""Azure's codes for kinds of errors; everything else that is wrong is wrong in the request."""
_ERRORS = (400, 401, 403, 404, 408, 413, 415, 429, 503)


class MissingVersion(Unread):
    """The address has no `api-version`."""

    name = "missing-api-version"
    title = "The api-version is missing"

    def __init__(self) -> None:
        super().__init__(
            f"Missing required query parameter: api-version; add ?api-version={VERSIONS[7]} to the address"
        )


class UnsupportedVersion(Unread):
    """The address has an `api-version` whose shapes are not known."""

    name = "unsupported-api-version"
    title = "The api-version is not supported"

    def __init__(self) -> None:
        super().__init__(f"Unsupported api-version. The supported api-versions are: {', '.join(VERSIONS)}")


class AnalyzeTextRequest(msgspec.Struct, frozen=True, rename="camel"):
    """A text, the harms that are of interest, and the term lists that are to be reported. Fields that are not known are
    left alone."""

    text: str
    categories: list[AzureCategory] | None = None
    blocklist_names: list[str] | None = None
    halt_on_blocklist_hit: bool | None = None
    output_type: OutputType | None = None


class Ours(msgspec.Struct, frozen=True):
    """The policy, and one text's whole verdict."""

    policy: PolicyName
    result: Verdict


class AnalyzeTextAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The listed terms that were found and the severity of each harm; `guard` is our own verdict."""

    blocklists_match: tuple[BlocklistMatch, ...]
    categories_analysis: tuple[CategorySeverity, ...]
    guard: Ours


class ShieldPromptRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What a user says to a model, and documents that it is to read."""

    user_prompt: str | None = None
    documents: list[str] | None = None


class AttackAnalysis(msgspec.Struct, frozen=True, rename="camel"):
    """Whether one text attacks the model; `guard` is its verdict."""

    attack_detected: bool
    guard: Verdict


class ShieldPromptAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The prompt, where there is one, and each document, in order. `guard` names the policy."""

    documents_analysis: tuple[AttackAnalysis, ...]
    guard: PolicyName
    user_prompt_analysis: AttackAnalysis | msgspec.UnsetType = msgspec.UNSET


class AzureErrorDetail(msgspec.Struct, frozen=True):
    """One thing that is wrong; `target` names the field."""

    code: str
    message: str
    target: str | None = None


class AzureInnerError(msgspec.Struct, frozen=True):
    """Guard's own name of the kind of error."""

    code: str


class AzureError(msgspec.Struct, frozen=True):
    """What is wrong, and where: `code` for programs, `target` names the field."""

    code: str
    message: str
    target: str | None
    details: tuple[AzureErrorDetail, ...]
    innererror: AzureInnerError


class AzureErrorBody(msgspec.Struct, frozen=True):
    """The body of every error of Azure's."""

    error: AzureError


_DECODER = msgspec.json.Decoder(AnalyzeTextRequest)
_SHIELD_DECODER = msgspec.json.Decoder(ShieldPromptRequest)
_ENCODER = msgspec.json.Encoder()
_VERSION = Parameter(
    "api-version", "query", Schema(type=OpenAPIType.STRING, enum=list(VERSIONS)), "The shapes that are meant", True
)
_ANALYZE = described(
    AnalyzeTextAnswer,
    body=AnalyzeTextRequest,
    text="The severity of each harm that the policy can tell",
    errors=_ERRORS,
    error=AzureErrorBody,
    query=[_VERSION],
)(
    operation_id="AnalyzeText",
    summary="Moderate a text, in the words of Azure AI Content Safety",
    description="The policy is named by `X-Guard-Policy`; blocklists are its term lists.",
    tags=["dialects"],
)
_SHIELD = described(
    ShieldPromptAnswer,
    body=ShieldPromptRequest,
    text="Whether the prompt and each document attack the model",
    errors=_ERRORS,
    error=AzureErrorBody,
    query=[_VERSION],
)(
    operation_id="ShieldPrompt",
    summary="Look for attacks on a model, in the words of Azure AI Content Safety",
    description="The policy is named by `X-Guard-Policy`.",
    tags=["dialects"],
)


def router(service: Service) -> Router:
    """The routes, bound to their service."""
    limits = service.settings.limits
    describe_path("/contentsafety/text:analyze", post=_ANALYZE)
    describe_path("/contentsafety/text:shieldPrompt", post=_SHIELD)

    async def given(
        caller: Caller, contents: list[Content], policy: str | None, lists: Sequence[str] = ()
    ) -> Moderated:
        told = await moderated(
            service,
            caller,
            contents,
            policy=policy,
            explained=bool(lists),
            # A canary without a list that the policy has answers nobody who asks for it.
            suits=lambda other: set(lists) <= set(searched(other)),
        )
        if any(unfounded(verdict) for verdict in told.verdicts):
            raise ModerationFailed
        return told

    async def analyze(scope: Scope, caller: Caller, body: bytes) -> bytes:
        _check_version(scope)
        asked = decoded(body, _DECODER, '{"text": "a text"}')
        _check_characters(len(asked.text), "$.text", limits)
        content = Content.of(checked_text(asked.text, "$.text", limits))
        lists = asked.blocklist_names or []
        check_count(len(lists), "blocklists in one request", limits)
        policy = policy_named(service, caller, scope)
        if lists:
            named = service.gate.policy(caller, policy, service.settings.default_policy)
            _check_lists(service.book[named], lists)
        told = await given(caller, [content], policy, lists)
        listed: tuple[BlocklistMatch, ...] = ()
        if lists:
            # The policies may have been loaded anew since.
            _check_lists(told.policy, lists)
            there = (told.policy, asked.text, told.verdicts[0], lists)
            listed = await asyncio.to_thread(matches, *there) if len(asked.text) > _LONG else matches(*there)
        return _ENCODER.encode(_analysis(asked, listed, told))

    async def shield(scope: Scope, caller: Caller, body: bytes) -> bytes:
        _check_version(scope)
        asked = decoded(body, _SHIELD_DECODER, '{"userPrompt": "a text"}')
        told = await given(caller, _shielded(asked, limits), policy_named(service, caller, scope))
        found = [_attack(told.policy, verdict) for verdict in told.verdicts]
        prompt = found.pop(0) if asked.user_prompt is not None else msgspec.UNSET
        return _ENCODER.encode(ShieldPromptAnswer(tuple(found), PolicyName.of(told.policy), prompt))

    async def image(scope: Scope, caller: Caller, body: bytes) -> NoReturn:
        _check_version(scope)
        raise InvalidContent("images are not looked at: send texts to /contentsafety/text:analyze", path="$.image")

    return Router(
        "/contentsafety",
        route_handlers=[
            posted("/text:analyze", service, analyze),
            posted("/text:shieldPrompt", service, shield),
            posted("/image:analyze", service, image),
        ],
        exception_handlers=speaking(_told),
    )


def _told(problem: ProblemDetails) -> AzureErrorBody:
    kind = problem.type.rpartition(":")[2]
    # What no kind of our own stands for is the framework's: Azure's gateway has the status as its code then.
    code = _CODES.get(kind) or ("InvalidRequestBody" if problem.status == 400 else str(problem.status))
    details = tuple([AzureErrorDetail(code, detail.message, _field(detail.path)) for detail in problem.errors])
    target = details[0].target if details else None
    return AzureErrorBody(AzureError(code, problem.detail, target, details, AzureInnerError(kind)))


def _field(path: str) -> str | None:
    return path.removeprefix("$").removeprefix(".") or None


def _check_version(scope: Scope) -> None:
    given = parse_qs(scope["query_string"].decode("latin-1")).get("api-version")
    if given is None:
        raise MissingVersion
    if given[0] not in VERSIONS:
        raise UnsupportedVersion


def _check_characters(length: int, path: str, limits: Limits) -> None:
    """The smaller one of two limits: Azure's, and that of the service."""
    if length > MOST_CHARACTERS < limits.max_characters:
        message = f"{length} characters; the limit is {MOST_CHARACTERS}, as Azure's: send the text in parts"
        raise LimitExceeded(message, limit="characters", allowed=MOST_CHARACTERS, path=path)
    check_length(length, path, limits)


def _check_lists(policy: Policy, lists: list[str]) -> None:
    """Whoever names a list that nobody looks for would take its silence for a text without its terms."""
    known = searched(policy)
    for number, name in enumerate(lists):
        if name not in known:
            had = f"it has: {', '.join(known)}" if known else "it has none"
            message = f"policy `{policy.name}` has no such term list for prompts; {had}"
            raise InvalidContent(message, path=f"$.blocklistNames[{number}]")


def _analysis(asked: AnalyzeTextRequest, listed: tuple[BlocklistMatch, ...], told: Moderated) -> AnalyzeTextAnswer:
    (verdict,) = told.verdicts
    ours = Ours(PolicyName.of(told.policy), _quoteless(verdict))
    if listed and asked.halt_on_blocklist_hit:
        return AnalyzeTextAnswer(listed, (), ours)
    wanted = tuple(dict.fromkeys(asked.categories or CATEGORIES))
    found = severities(told.policy, verdict, wanted, asked.output_type or "FourSeverityLevels")
    missing = set(wanted) - {harm.category for harm in found}
    if missing and (asked.categories or not found):
        names = ", ".join(name for name in wanted if name in missing)
        message = f"policy `{told.policy.name}` has nothing that goes by {names}: name others, or give it `maps.azure`"
        raise InvalidContent(message, path="$.categories")
    return AnalyzeTextAnswer(listed, found, ours)


def _shielded(asked: ShieldPromptRequest, limits: Limits) -> list[Content]:
    """The prompt, where there is one, then the documents: what a model is given to read has a tool's role."""
    documents = asked.documents or []
    contents = [Content(document, role="tool") for document in documents]
    if asked.user_prompt is not None:
        contents.insert(0, Content(asked.user_prompt, role="user"))
    if not contents:
        raise InvalidContent("neither a prompt nor a document: there is nothing to look at", path="$.userPrompt")
    if len(documents) > MOST_DOCUMENTS:
        message = f"{len(documents)} documents; the limit is {MOST_DOCUMENTS}, as Azure's"
        raise LimitExceeded(message, limit="documents", allowed=MOST_DOCUMENTS, path="$.documents")
    check_count(len(contents), "texts in one request", limits)
    _check_characters(len(asked.user_prompt or ""), "$.userPrompt", limits)
    _check_characters(sum(len(document) for document in documents), "$.documents", limits)
    return contents


def _attack(policy: Policy, verdict: Verdict) -> AttackAnalysis:
    found = attacked(policy, verdict)
    if found is None:
        message = f"policy `{policy.name}` has nothing that goes by `jailbreak` in `maps.azure`: attacks are not told"
        raise InvalidContent(message, path="$")
    return AttackAnalysis(found, verdict)


def _quoteless(verdict: Verdict) -> Verdict:
    """The verdict without its explanation, which only the lists' matches are read from."""
    return msgspec.structs.replace(verdict, explanation=msgspec.UNSET)

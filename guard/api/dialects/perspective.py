"""Perspective's `POST /v1alpha1/comments:analyze`, and the document by which Google's clients find it.

Suggested scores (`comments:suggestscore`) are refused: nothing here learns from them, and a client that was thanked
would think so.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Router
from litestar.types import Scope

from guard.access import Caller
from guard.api.body import decoded
from guard.api.dialects.discovery import discovery
from guard.api.dialects.google import GOOGLE_EXCEPTION_HANDLERS, GoogleBody, GoogleRefused
from guard.api.errors import MalformedBody
from guard.api.openapi import describe_path, described
from guard.api.posted import posted
from guard.api.schemas import PolicyName, check_count, check_length
from guard.api.verdicts import Moderated, moderated, policy_named
from guard.config import Limits
from guard.content import Content, Turn
from guard.dialects.markup import Shown, shown
from guard.dialects.perspective import (
    ATTRIBUTES,
    LANGUAGES,
    AttributeScores,
    attribute_named,
    attribute_scores,
    foreign_to,
    reads,
    served,
)
from guard.dialects.taxonomy import unfounded
from guard.errors import InvalidContent, ModerationFailed
from guard.service import Service
from guard.verdict import Verdict

__all__ = ["router"]

_ANALYZE = "/v1alpha1/comments:analyze"
_SUGGEST = "/v1alpha1/comments:suggestscore"
_MOST_ATTRIBUTES = 64
_LONG = 10_000
"""Characters of HTML from which it is read in a thread, for others wait on the loop."""
_UNKNOWN_LANGUAGE = "und"
"""BCP 47's word for a language that nobody has determined: which one it is, the verdict does not say."""


class TextEntry(msgspec.Struct, frozen=True):
    """A text, plain or HTML."""

    text: str | None = None
    type: str | None = None


_Said = tuple[str, TextEntry | None]
"""The place of a text in the request, and the text."""


class ArticleAndParentComment(msgspec.Struct, frozen=True, rename="camel"):
    """What a comment is about, and what it answers."""

    article: TextEntry | None = None
    parent_comment: TextEntry | None = None


class CommentContext(msgspec.Struct, frozen=True, rename="camel"):
    """What was said before a comment, oldest first; in one of two forms."""

    entries: list[TextEntry] | None = None
    article_and_parent_comment: ArticleAndParentComment | None = None


class AttributeParameters(msgspec.Struct, frozen=True, rename="camel"):
    """How one attribute is to be answered. A score below the threshold is left out."""

    score_type: str | None = None
    score_threshold: float | None = None


class AnalyzeCommentRequest(msgspec.Struct, frozen=True, rename="camel"):
    """A comment and the attributes that it is to be scored for. Fields that are not known are left alone, and so are
    `sessionId` and `communityId`."""

    comment: TextEntry | None = None
    requested_attributes: dict[str, AttributeParameters | None] | None = None
    context: CommentContext | None = None
    languages: list[str] | None = None
    span_annotations: bool | None = None
    do_not_store: bool | None = None
    client_token: str | None = None
    drop_unsupported_attributes: bool | None = None


class Analysed(msgspec.Struct, frozen=True):
    """Our own answer beside Perspective's: the call's id, the policy, and its verdict. The verdict's spans point into
    the text as it was read, which of HTML is the text without the tags."""

    id: str
    policy: PolicyName
    result: Verdict


class AnalyzeCommentResponse(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The scores of each attribute, by the name that it was asked for by."""

    attribute_scores: dict[str, AttributeScores]
    languages: list[str]
    detected_languages: list[str]
    guard: Analysed
    client_token: str | None = None


_DECODER = msgspec.json.Decoder(AnalyzeCommentRequest)
_ENCODER = msgspec.json.Encoder()
_EXAMPLE = '{"comment": {"text": "a text"}, "requestedAttributes": {"TOXICITY": {}}}'
# A string; a name before a colon; any other name, which is passed over whole. Each letter is looked at once or twice.
_BARE_NAMES = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([A-Za-z_$][\w$]*+)(?=[ \t\r\n]*+:)|[\w$]++', re.DOTALL)
_ERRORS = (400, 401, 403, 404, 408, 413, 415, 429, 503)
_ANALYZING = described(
    AnalyzeCommentResponse,
    body=AnalyzeCommentRequest,
    text="The scores that were asked for",
    errors=_ERRORS,
    error=GoogleBody,
)(
    operation_id="AnalyzeComment",
    summary="Score a comment, in Perspective's words",
    description="Perspective's analysis of a comment. The policy is named by `X-Guard-Policy`, the key may be `?key=`.",
    tags=["dialects"],
)


class _Asked(msgspec.Struct, frozen=True):
    """A request that was checked: what is to be moderated, the comment as it was sent and, where it is HTML, as it is
    read; and for each requested name its attribute and its threshold."""

    content: Content
    comment: str
    html: Shown | None
    attributes: dict[str, tuple[str, float]]
    languages: list[str]


def router(service: Service) -> Router:
    """The routes, bound to their service."""
    limits = service.settings.limits
    describe_path(_ANALYZE, post=_ANALYZING)

    async def analyze(scope: Scope, caller: Caller, body: bytes) -> bytes:
        request = _decoded(body)
        asked = await _checked(request, limits)
        told = await moderated(
            service,
            caller,
            [asked.content],
            policy=policy_named(service, caller, scope),
            store=False if request.do_not_store else None,
        )
        return _ENCODER.encode(_answer(request, asked, told))

    async def suggest(scope: Scope, caller: Caller, body: bytes) -> bytes:
        raise GoogleRefused(
            "Guard does not learn from suggested scores, and keeps none: make a wrong score a case of the policy "
            "(`guard test`), or fit its curves to labelled texts (`guard calibrate`)",
            kind="INVALID_REQUEST",
            status=501,
        )

    return Router(
        "",
        route_handlers=[
            posted(_ANALYZE, service, analyze, key_in_query=True),
            posted(_SUGGEST, service, suggest, key_in_query=True),
            discovery,
        ],
        exception_handlers=GOOGLE_EXCEPTION_HANDLERS,
    )


def _decoded(body: bytes) -> AnalyzeCommentRequest:
    """The body, in which names may stand without quotes, as in the first example of Perspective's own documents."""
    try:
        return decoded(body, _DECODER, _EXAMPLE)
    except MalformedBody:
        quoted = _BARE_NAMES.sub(lambda found: b'"%s"' % found[1] if found[1] else found[0], body)
        if quoted == body:
            raise
        return decoded(quoted, _DECODER, _EXAMPLE)


async def _checked(request: AnalyzeCommentRequest, limits: Limits) -> _Asked:
    attributes = _attributes(request)
    said: list[_Said] = [("comment", request.comment), *_before(request.context, limits)]
    lengths = [len(entry.text or "") if entry is not None else 0 for _, entry in said]
    # Before any HTML is read, however little of it may be shown.
    check_length(sum(lengths), "$.comment.text", limits)
    marked = sum(
        [length for length, (_, entry) in zip(lengths, said, strict=True) if entry is not None and entry.type == "HTML"]
    )
    html, *before = await asyncio.to_thread(_htmls, said) if marked > _LONG else _htmls(said)
    comment = request.comment.text if request.comment is not None else None
    text = html.text if html is not None else comment
    if not comment or not text or (html is not None and not text.strip()):
        hint = "send a `comment.text`" if not comment else "its HTML shows no text"
        raise GoogleRefused(f"Comment must be non-empty: {hint}", kind="COMMENT_EMPTY", path="comment.text")
    turns = _turns(said[1:], before)
    # What is markup in one place and text in another is read as both.
    check_length(len(text) + sum([len(turn.text) for turn in turns]), "$.comment.text", limits)
    return _Asked(Content(text, context=turns), comment, html, attributes, request.languages or [])


def _attributes(request: AnalyzeCommentRequest) -> dict[str, tuple[str, float]]:
    """Each requested name's attribute and threshold."""
    requested = request.requested_attributes
    if not requested:
        message = f"Missing requested_attributes: name at least one of {', '.join(ATTRIBUTES)}"
        raise GoogleRefused(message, kind="NO_REQUESTED_ATTRIBUTES", path="requestedAttributes")
    if len(requested) > _MOST_ATTRIBUTES:
        message = f"{len(requested)} attributes; at most {_MOST_ATTRIBUTES} may be requested"
        raise InvalidContent(message, path="$.requestedAttributes")
    found = {}
    for name, given in requested.items():
        attribute = attribute_named(name)
        path = f"$.requestedAttributes.{name[:60]}"
        if attribute is None:
            message = f"Unknown requested attribute: {name[:60]}; served are {', '.join(ATTRIBUTES)}"
            raise InvalidContent(message, path=path)
        kind = (given.score_type if given is not None else None) or "PROBABILITY"
        if kind not in ("PROBABILITY", "SCORE_TYPE_UNSPECIFIED"):
            raise InvalidContent(
                f"Requested score type {kind[:40]} is not supported by attribute {name[:60]}: ask for PROBABILITY",
                path=f"{path}.scoreType",
            )
        threshold = given.score_threshold if given is not None else None
        found[name] = (attribute, threshold if threshold is not None else 0.0)
    return found


def _html(entry: TextEntry | None, path: str) -> Shown | None:
    """The text of an entry that is HTML; None where it is plain."""
    match entry.type if entry is not None else None:
        case None | "" | "PLAIN_TEXT" | "TEXT_TYPE_UNSPECIFIED":
            return None
        case "HTML":
            return shown(entry.text or "") if entry is not None else None
        case kind:
            message = f"Unknown text type {kind[:40]}: send PLAIN_TEXT or HTML"
            raise InvalidContent(message, path=f"$.{path}.type")


def _htmls(said: Sequence[_Said]) -> list[Shown | None]:
    return [_html(entry, path) for path, entry in said]


def _before(context: CommentContext | None, limits: Limits) -> list[_Said]:
    """What was said before, oldest first."""
    if context is None:
        return []
    entries, around = context.entries or [], context.article_and_parent_comment
    if around is not None and entries:
        message = "Context can have either entries or article_and_parent_comment, but both fields were populated"
        raise InvalidContent(f"{message}: send one of them", path="$.context")
    check_count(len(entries), "entries of context", limits)
    if around is not None:
        place = "context.articleAndParentComment"
        return [(f"{place}.article", around.article), (f"{place}.parentComment", around.parent_comment)]
    return [(f"context.entries[{number}]", entry) for number, entry in enumerate(entries)]


def _turns(said: Sequence[_Said], htmls: Sequence[Shown | None]) -> tuple[Turn, ...]:
    """The turns before a comment; what is empty is left out."""
    turns = []
    for (_, entry), html in zip(said, htmls, strict=True):
        text = html.text if html is not None else entry.text if entry is not None else None
        if text:
            turns.append(Turn("user", text))
    return tuple(turns)


def _answer(request: AnalyzeCommentRequest, asked: _Asked, told: Moderated) -> AnalyzeCommentResponse:
    """The answer to one verdict.

    Raises:
        ModerationFailed: a stage failed, and without it there is no score to answer.
        InvalidContent: the policy has nothing behind an attribute.
        GoogleRefused: nobody here reads the comment's language.
    """
    (verdict,) = told.verdicts
    detected = LANGUAGES[0] if verdict.language_supported else _UNKNOWN_LANGUAGE
    languages = asked.languages or [detected]
    foreign = not all(reads(language) for language in languages)
    if unfounded(verdict) or (foreign and verdict.degraded):
        raise ModerationFailed
    behind = served(told.policy, verdict)
    scores = {}
    for name, (attribute, threshold) in asked.attributes.items():
        if attribute not in behind:
            if verdict.degraded:
                raise ModerationFailed
            raise InvalidContent(
                f"Unknown requested attribute: {name[:60]}; no category of the policy `{told.policy.name}` that can be "
                f"scored here goes by it (`maps.perspective`); it tells {', '.join(behind) or 'none'}",
                path=f"$.requestedAttributes.{name[:60]}",
            )
        if foreign and foreign_to(verdict, behind[attribute]):
            if request.drop_unsupported_attributes:
                continue
            raise _not_read(name, asked.languages, detected)
        scores[name] = attribute_scores(
            attribute,
            told.policy,
            verdict,
            behind[attribute],
            comment=asked.comment,
            offsets=asked.html.offsets if asked.html is not None else None,
            threshold=threshold,
            spans=request.span_annotations is True,
        )
    policy = PolicyName.of(told.policy)
    return AnalyzeCommentResponse(
        scores, languages, [detected], Analysed(told.id, policy, verdict), request.client_token
    )


def _not_read(name: str, languages: list[str], detected: str) -> GoogleRefused:
    more: dict[str, Any] = {"attribute": name}
    more |= {"requestedLanguages": languages} if languages else {"detectedLanguages": [detected]}
    which = ", ".join([language[:40] for language in languages[:8]]) or detected
    message = (
        f"Attribute {name} does not support request languages: {which}; the screen reads {', '.join(LANGUAGES)}, for "
        "others configure a judge (GUARD_JUDGE), or set `languages` where the detection is wrong"
    )
    return GoogleRefused(
        message,
        kind="LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
        path="languages",
        more={"languageNotSupportedByAttributeError": more},
    )

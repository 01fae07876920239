"""Errors inside OpenAI's dialect: `{"error": {"message", "type", "param", "code"}}` with OpenAI's statuses."""

from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from guard.api.errors import MalformedBody, SchemaMismatch, Unread, log_unexpected
from guard.errors import (
    Forbidden,
    GuardError,
    InvalidContent,
    JudgeFailed,
    LimitExceeded,
    ModerationFailed,
    NoJudge,
    NoUpstream,
    Overloaded,
    PolicyNotFound,
    RateLimited,
    StoreError,
    Unauthenticated,
    UpstreamFailed,
    UpstreamRefused,
)

__all__ = ["OPENAI_EXCEPTION_HANDLERS", "ErrorBody", "OpenAIError", "openai_error"]


class OpenAIError(msgspec.Struct, frozen=True):
    """What is wrong: `param` names the field, `code` the kind of error for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error."""

    error: OpenAIError


class _Answer(NamedTuple):
    """An error and the status that it has as a response."""

    status: int
    error: OpenAIError
    headers: dict[str, str] | None = None


_BUSY: dict[type[GuardError], str] = {
    ModerationFailed: "moderation_failed",
    Overloaded: "overloaded",
    StoreError: "store_failed",
}


def openai_error(exc: Exception) -> OpenAIError:
    """What an error is in OpenAI's words: the same in a response and in the middle of a stream."""
    return _told(exc).error


def _told(exc: Exception) -> _Answer:
    said = str(exc)
    match exc:
        case MalformedBody() | SchemaMismatch() | InvalidContent() | Unread():
            return _invalid(exc)
        case NoJudge():
            return _Answer(503, OpenAIError(said, "server_error", code="judge_not_configured"))
        case NoUpstream():
            return _Answer(503, OpenAIError(said, "server_error", code="upstream_not_configured"))
        case UpstreamFailed(status=status, code=code):
            return _Answer(status, OpenAIError(said, "server_error", code=code))
        case UpstreamRefused(status=status, retry_after=retry_after):
            kind = "invalid_request_error" if 400 <= status < 500 else "server_error"
            headers = {"Retry-After": retry_after} if retry_after else None
            # Neither a success nor a redirection: there is no answer.
            return _Answer(status if status >= 400 else 502, OpenAIError(said, kind, code="upstream_refused"), headers)
        case Unauthenticated():
            error = OpenAIError(said, "authentication_error", code="invalid_api_key")
            return _Answer(401, error, {"WWW-Authenticate": "Bearer"})
        case Forbidden():
            return _Answer(403, OpenAIError(said, "permission_error", code="forbidden"))
        case RateLimited(unit=unit, retry_after=wait):
            wait_for = {"Retry-After": str(wait)} if wait is not None else None
            return _Answer(429, OpenAIError(said, unit, code="rate_limit_exceeded"), wait_for)
        case PolicyNotFound():
            return _Answer(404, OpenAIError(said, "invalid_request_error", "guard.policy", "policy_not_found"))
        case JudgeFailed():
            return _Answer(503, OpenAIError(said, "server_error", code="judge_failed"))
        case (
            Overloaded(retry_after=retry_after)
            | StoreError(retry_after=retry_after)
            | ModerationFailed(retry_after=retry_after)
        ):
            error = OpenAIError(f"{said}; try again later", "server_error", code=_BUSY[type(exc)])
            return _Answer(503, error, {"Retry-After": str(retry_after)})
        case _:
            log_unexpected(exc)
            return _Answer(500, OpenAIError("Guard failed; its log tells where", "server_error"))


def _invalid(exc: GuardError) -> _Answer:
    """What the client has to do otherwise, and where."""
    path: str | None = None
    code: str | None = None
    match exc:
        case Unread():
            error = OpenAIError(str(exc), "invalid_request_error", code=exc.name.replace("-", "_"))
            return _Answer(exc.status, error, dict(exc.headers))
        case MalformedBody():
            code = "invalid_json"
        case LimitExceeded(path=path, limit=code):
            pass
        case SchemaMismatch(path=path) | InvalidContent(path=path):
            pass
    param = path.removeprefix("$").removeprefix(".") if path is not None else None
    return _Answer(400, OpenAIError(str(exc), "invalid_request_error", param or None, code))


def _respond(answer: _Answer, body: bytes | None = None) -> Response[bytes]:
    content = body if body is not None else msgspec.json.encode(ErrorBody(answer.error))
    return Response(content, status_code=answer.status, media_type="application/json", headers=answer.headers)


def _known(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    return _respond(_told(exc), _own_words(exc) if isinstance(exc, UpstreamRefused) else None)


def _own_words(exc: UpstreamRefused) -> bytes | None:
    """The upstream's own error, where it is in a shape that clients know."""
    try:
        known = "error" in msgspec.json.decode(exc.body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        known = False
    return exc.body if known else None


def _http(request: Request[Any, Any, Any], exc: HTTPException) -> Response[bytes]:
    if exc.status_code == 413:
        limit = request.app.state.service.settings.limits.max_body_bytes
        error = OpenAIError(
            f"The body is larger than the limit of {limit} bytes", "invalid_request_error", code="max_body_bytes"
        )
    else:
        error = OpenAIError(exc.detail, "invalid_request_error")
    return _respond(_Answer(exc.status_code, error, dict(exc.headers or {})))


OPENAI_EXCEPTION_HANDLERS: dict[Any, Any] = {GuardError: _known, HTTPException: _http, Exception: _known}

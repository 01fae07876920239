"""Errors inside OpenAI's dialect: `{"error": {"message", "type", "param", "code"}}` with OpenAI's statuses."""

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from guard.api.errors import EXCEPTION_HANDLERS, MalformedBody, SchemaMismatch
from guard.errors import GuardError, InvalidContent, JudgeFailed, LimitExceeded, NoJudge, Overloaded

__all__ = ["OPENAI_EXCEPTION_HANDLERS", "ErrorBody", "OpenAIError"]


class OpenAIError(msgspec.Struct, frozen=True):
    """What is wrong: `param` names the field, `code` the kind of error for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error."""

    error: OpenAIError


def _respond(status: int, error: OpenAIError, headers: dict[str, str] | None = None) -> Response[bytes]:
    body = msgspec.json.encode(ErrorBody(error))
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def _invalid(message: str, path: str | None = None, code: str | None = None) -> Response[bytes]:
    param = path.removeprefix("$").removeprefix(".") if path is not None else None
    return _respond(400, OpenAIError(message, "invalid_request_error", param or None, code))


def _known(request: Request[Any, Any, Any], exc: GuardError) -> Response[bytes]:
    said = str(exc)
    match exc:
        case MalformedBody():
            return _invalid(said, code="invalid_json")
        case SchemaMismatch(path=path):
            return _invalid(said, path)
        case LimitExceeded(path=path, limit=limit):
            return _invalid(said, path, limit)
        case InvalidContent(path=path):
            return _invalid(said, path)
        case NoJudge():
            return _respond(503, OpenAIError(said, "server_error", code="judge_not_configured"))
        case JudgeFailed():
            return _respond(503, OpenAIError(said, "server_error", code="judge_failed"))
        case Overloaded(retry_after=retry_after):
            error = OpenAIError(f"{said}; try again later", "server_error", code="overloaded")
            return _respond(503, error, {"Retry-After": str(retry_after)})
        case _:
            EXCEPTION_HANDLERS[Exception](request, exc)  # the log tells where
            return _respond(500, OpenAIError("Guard failed; its log tells where", "server_error"))


def _http(request: Request[Any, Any, Any], exc: HTTPException) -> Response[bytes]:
    if exc.status_code == 413:
        limit = request.app.state.service.settings.limits.max_body_bytes
        error = OpenAIError(
            f"The body is larger than the limit of {limit} bytes", "invalid_request_error", code="max_body_bytes"
        )
    else:
        error = OpenAIError(exc.detail, "invalid_request_error")
    return _respond(exc.status_code, error, dict(exc.headers or {}))


def _unexpected(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    EXCEPTION_HANDLERS[Exception](request, exc)
    return _respond(500, OpenAIError("Guard failed; its log tells where", "server_error"))


OPENAI_EXCEPTION_HANDLERS: dict[Any, Any] = {GuardError: _known, HTTPException: _http, Exception: _unexpected}

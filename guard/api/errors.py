"""Errors as RFC 9457 problem details: what is wrong, where, and what to do. Never the text itself."""

import http
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from guard.errors import (
    GuardError,
    InvalidContent,
    InvalidPolicy,
    LimitExceeded,
    Overloaded,
    PolicyNotFound,
)
from guard.telemetry import REQUEST_ID

__all__ = ["EXCEPTION_HANDLERS", "ClientGone", "Detail", "MalformedBody", "ProblemDetails", "SchemaMismatch"]

MEDIA_TYPE = "application/problem+json"


class ClientGone(GuardError):
    """The client closed the connection before its request was complete; nobody reads an answer."""


class MalformedBody(GuardError):
    """The body is no JSON, or no UTF-8."""


class SchemaMismatch(GuardError):
    """The body is JSON of another shape than the route's; `path` is where."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class Detail(msgspec.Struct, frozen=True):
    """One place in the request and what is wrong there."""

    path: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457. `type` names the kind of error for programs, `detail` tells it to people.

    `limit` and `allowed` are given where a limit was exceeded, `errors` where places can be named.
    """

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[Detail, ...] = ()
    limit: str | None = None
    allowed: int | None = None
    request_id: str | None = None


def _respond(
    request: Request[Any, Any, Any], problem: ProblemDetails, headers: dict[str, str] | None = None
) -> Response[bytes]:
    body = msgspec.json.encode(msgspec.structs.replace(problem, request_id=REQUEST_ID.get() or None))
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _kind(name: str) -> str:
    return f"urn:guard:problem:{name}"


def _known(request: Request[Any, Any, Any], exc: GuardError) -> Response[bytes]:
    """An error of Guard's own tree."""
    match exc:
        case ClientGone():
            problem = ProblemDetails(_kind("client-gone"), "The request was not completed", 400, str(exc))
            return _respond(request, problem)
        case MalformedBody():
            return _respond(
                request, ProblemDetails(_kind("malformed-body"), "The body is not valid JSON", 400, str(exc))
            )
        case SchemaMismatch(path=path):
            problem = ProblemDetails(
                _kind("schema-mismatch"),
                "The body does not have the expected shape",
                422,
                str(exc),
                (Detail(path, str(exc)),),
            )
            return _respond(request, problem)
        case LimitExceeded(path=path, limit=limit, allowed=allowed):
            problem = ProblemDetails(
                _kind("limit-exceeded"),
                "A limit was exceeded",
                422,
                str(exc),
                (Detail(path, str(exc)),),
                limit,
                allowed,
            )
            return _respond(request, problem)
        case InvalidContent(path=path):
            problem = ProblemDetails(
                _kind("invalid-content"), "This cannot be moderated", 422, str(exc), (Detail(path, str(exc)),)
            )
            return _respond(request, problem)
        case PolicyNotFound():
            return _respond(request, ProblemDetails(_kind("policy-not-found"), "No such policy", 404, str(exc)))
        case InvalidPolicy(problems=problems):
            details = tuple([Detail(p.path, f"line {p.line}: {p.message}") for p in problems])
            problem = ProblemDetails(_kind("invalid-policy"), "The policy has mistakes", 422, str(exc), details)
            return _respond(request, problem)
        case Overloaded(retry_after=retry_after):
            problem = ProblemDetails(_kind("overloaded"), "Too busy right now", 503, f"{exc}; try again later")
            return _respond(request, problem, {"Retry-After": str(retry_after)})
    return _unexpected(request, exc)


def _http(request: Request[Any, Any, Any], exc: HTTPException) -> Response[bytes]:
    """An error of the framework: no such route, wrong method, a body that is too large."""
    status = exc.status_code
    title = http.HTTPStatus(status).phrase
    limit = request.app.state.settings.limits.max_body_bytes
    if status == 413:
        detail = f"The body is larger than the limit of {limit} bytes (max_body_bytes)"
        problem = ProblemDetails(_kind("limit-exceeded"), title, 413, detail, (), "max_body_bytes", limit)
    elif status == 404:
        problem = ProblemDetails(_kind("not-found"), title, 404, "There is no such route; /schema lists them")
    elif status == 405:
        problem = ProblemDetails(_kind("method-not-allowed"), title, 405, "The route does not have this method")
    else:
        problem = ProblemDetails(_kind(title.lower().replace(" ", "-")), title, status, title)
    return _respond(request, problem, dict(exc.headers or {}))


def _unexpected(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """A bug. The log gets the kind of error and where it was raised; its message could quote the text."""
    where = []
    trace = exc.__traceback__
    while trace is not None:
        where.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    structlog.get_logger("guard").error("request_failed", error=type(exc).__name__, where=where[-6:])
    problem = ProblemDetails(_kind("internal-error"), "Internal Server Error", 500, "Guard failed; its log tells where")
    return _respond(request, problem)


EXCEPTION_HANDLERS: dict[Any, Any] = {GuardError: _known, HTTPException: _http, Exception: _unexpected}

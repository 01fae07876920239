"""Errors as RFC 9457 problem details: what is wrong, where, and what to do. Never the text itself."""

import http
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from guard.errors import (
    Forbidden,
    GuardError,
    InvalidContent,
    InvalidPolicy,
    LimitExceeded,
    ModerationFailed,
    Overloaded,
    PolicyNotFound,
    RateLimited,
    RecordNotFound,
    StoreError,
    Unauthenticated,
)
from guard.telemetry import REQUEST_ID, where

__all__ = [
    "EXCEPTION_HANDLERS",
    "BodyTooSlow",
    "ClientGone",
    "Detail",
    "MalformedBody",
    "ProblemDetails",
    "SchemaMismatch",
    "Unread",
    "UnsupportedEncoding",
    "log_unexpected",
    "speaking",
]

MEDIA_TYPE = "application/problem+json"


class Unread(GuardError):
    """The body was not read. What each kind is as an answer: its name, title and status, and headers."""

    name: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int] = 400
    headers: ClassVar[Mapping[str, str]] = {}


class ClientGone(Unread):
    """The client closed the connection before its request was complete; nobody reads an answer."""

    name = "client-gone"
    title = "The request was not completed"


class BodyTooSlow(Unread):
    """The body did not come whole within the `seconds` that it may take."""

    name = "body-too-slow"
    title = "The body took too long"
    status = 408
    headers: ClassVar[Mapping[str, str]] = {"Connection": "close"}

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The body did not come whole within {seconds:g} s (GUARD_BODY_SECONDS); send it faster, or less at once"
        )


class UnsupportedEncoding(Unread):
    """The body is compressed."""

    name = "unsupported-encoding"
    title = "Bodies are read as they come"
    status = 415
    headers: ClassVar[Mapping[str, str]] = {"Accept-Encoding": "identity"}

    def __init__(self) -> None:
        super().__init__("The header Content-Encoding says that the body is compressed: send plain JSON, without it")


class MalformedBody(GuardError):
    """The body is no JSON, or no UTF-8."""


class SchemaMismatch(GuardError):
    """The body is JSON of another shape than the route's; `path` is where. So is `?name` of an address."""

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


def _problem(name: str, title: str, status: int, detail: str, **more: Any) -> ProblemDetails:
    return ProblemDetails(f"urn:guard:problem:{name}", title, status, detail, **more)


_BUSY: dict[type[GuardError], tuple[str, str]] = {
    ModerationFailed: ("moderation-failed", "A stage of the moderation failed"),
    Overloaded: ("overloaded", "Too busy right now"),
    StoreError: ("store-failed", "The store of records failed"),
}


def _problem_of(request: Request[Any, Any, Any], exc: Exception) -> tuple[ProblemDetails, dict[str, str]]:
    """What is wrong, with the headers that tell it too. `type` is what dialects go by."""
    match exc:
        case HTTPException():
            return _http(request, exc)
        case GuardError():
            return _known(exc)
        case _:
            return _unexpected(exc)


def speaking(told: Callable[[ProblemDetails], object]) -> dict[Any, Any]:
    """Exception handlers of a dialect: `told` gives the body of an error. The status stays, but 422 is 400: these
    dialects do not part the two."""

    def handle(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
        problem, headers = _problem_of(request, exc)
        if problem.status == 422:
            problem = msgspec.structs.replace(problem, status=400)
        body = msgspec.json.encode(told(problem))
        return Response(body, status_code=problem.status, media_type="application/json", headers=headers)

    return {GuardError: handle, HTTPException: handle, Exception: handle}


def _known(exc: GuardError) -> tuple[ProblemDetails, dict[str, str]]:
    """An error of Guard's own tree."""
    said = str(exc)
    headers: dict[str, str] = {}
    match exc:
        case Unread():
            problem = _problem(exc.name, exc.title, exc.status, said)
            headers = dict(exc.headers)
        case MalformedBody():
            problem = _problem("malformed-body", "The body is not valid JSON", 400, said)
        case SchemaMismatch(path=path):
            title = f"The {'address' if path.startswith('?') else 'body'} does not have the expected shape"
            problem = _problem("schema-mismatch", title, 422, said, errors=(Detail(path, said),))
        case LimitExceeded(path=path, limit=limit, allowed=allowed):
            where = (Detail(path, said),)
            problem = _problem(
                "limit-exceeded", "A limit was exceeded", 422, said, errors=where, limit=limit, allowed=allowed
            )
        case InvalidContent(path=path):
            problem = _problem("invalid-content", "This cannot be moderated", 422, said, errors=(Detail(path, said),))
        case PolicyNotFound() | RecordNotFound():
            what = "policy" if isinstance(exc, PolicyNotFound) else "record"
            problem = _problem(f"{what}-not-found", f"No such {what}", 404, said)
        case InvalidPolicy(problems=problems):
            errors = tuple([Detail(p.path, f"line {p.line}: {p.message}") for p in problems])
            problem = _problem("invalid-policy", "The policy has mistakes", 422, said, errors=errors)
        case Unauthenticated():
            problem = _problem("unauthenticated", "An API key is needed", 401, said)
            headers = {"WWW-Authenticate": "Bearer"}
        case Forbidden():
            problem = _problem("forbidden", "The API key's rights do not reach that far", 403, said)
        case RateLimited(limit=limit, retry_after=wait):
            problem = _problem("rate-limited", "Too much for this API key", 429, said, limit="rate", allowed=limit)
            headers = {"Retry-After": str(wait)} if wait is not None else {}
        case (
            Overloaded(retry_after=retry_after)
            | StoreError(retry_after=retry_after)
            | ModerationFailed(retry_after=retry_after)
        ):
            problem = _problem(*_BUSY[type(exc)], 503, f"{said}; try again later")
            headers = {"Retry-After": str(retry_after)}
        case _:
            return _unexpected(exc)
    return problem, headers


def _http(request: Request[Any, Any, Any], exc: HTTPException) -> tuple[ProblemDetails, dict[str, str]]:
    """An error of the framework: no such route, wrong method, a body that is too large."""
    status = exc.status_code
    title = http.HTTPStatus(status).phrase
    limit = request.app.state.service.settings.limits.max_body_bytes
    if status == 413:
        detail = f"The body is larger than the limit of {limit} bytes (max_body_bytes)"
        problem = _problem("limit-exceeded", title, 413, detail, limit="max_body_bytes", allowed=limit)
    elif status == 404:
        problem = _problem("not-found", title, 404, "There is no such route; /schema lists them")
    elif status == 405:
        problem = _problem("method-not-allowed", title, 405, "The route does not have this method")
    else:
        problem = _problem(title.lower().replace(" ", "-"), title, status, title)
    return problem, dict(exc.headers or {})


def log_unexpected(exc: Exception) -> None:
    """A bug. The log gets the kind of error and where it was raised; its message could quote the text."""
    structlog.get_logger("guard").error("request_failed", error=type(exc).__name__, where=where(exc))


def _unexpected(exc: Exception) -> tuple[ProblemDetails, dict[str, str]]:
    log_unexpected(exc)
    return _problem("internal-error", "Internal Server Error", 500, "Guard failed; its log tells where"), {}


def _handle(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    problem, headers = _problem_of(request, exc)
    body = msgspec.json.encode(msgspec.structs.replace(problem, request_id=REQUEST_ID.get() or None))
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


EXCEPTION_HANDLERS: dict[Any, Any] = {GuardError: _handle, HTTPException: _handle, Exception: _handle}

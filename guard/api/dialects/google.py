"""Errors as Google's services tell them: `google.rpc.Status`, with the name of the status and details for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response

from guard.api.errors import ProblemDetails, speaking
from guard.errors import GuardError, Unauthenticated

__all__ = ["GOOGLE_EXCEPTION_HANDLERS", "GoogleBody", "GoogleError", "GoogleRefused"]

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
_PERSPECTIVES = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
_FIELDS = "type.googleapis.com/google.rpc.BadRequest"


class GoogleError(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status` names the kind of error, `details` tell programs more; the first is the service's own."""

    code: int
    message: str
    status: str
    details: Sequence[dict[str, Any]] = ()


class GoogleBody(msgspec.Struct, frozen=True):
    """What a failure's body is."""

    error: GoogleError


class GoogleRefused(GuardError):
    """A request that Perspective's clients know the refusal of: `kind` is its `errorType`, `path` the field, `more`
    what else the detail says."""

    def __init__(
        self, message: str, *, kind: str, path: str = "", status: int = 400, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.details = _details(kind, [(path, message)] if path else [], more or {})


def _details(kind: str, fields: Sequence[tuple[str, str]], more: Mapping[str, Any]) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = [{"@type": _PERSPECTIVES, "errorType": kind, **more}]
    if fields:
        violations = [{"field": field, "description": description} for field, description in fields]
        details.append({"@type": _FIELDS, "fieldViolations": violations})
    return details


def _told(problem: ProblemDetails) -> GoogleBody:
    """Any other error."""
    details: Sequence[dict[str, Any]] = ()
    if problem.status == 400:
        kind = "COMMENT_TOO_LONG" if problem.limit == "max_characters" else "INVALID_REQUEST"
        fields = [(error.path.removeprefix("$").removeprefix("."), error.message) for error in problem.errors]
        details = _details(kind, [(field, message) for field, message in fields if field], {})
    status = _STATUSES.get(problem.status, "INTERNAL")
    return GoogleBody(GoogleError(problem.status, problem.detail, status, details))


def _refused(request: Request[Any, Any, Any], exc: GoogleRefused) -> Response[bytes]:
    return _respond(GoogleError(exc.status, str(exc), _STATUSES[exc.status], exc.details))


def _keyless(request: Request[Any, Any, Any], exc: Unauthenticated) -> Response[bytes]:
    """httplib2, on which Google's Python library stands, cannot read a challenge that is one word."""
    message = f"{exc}; Google's clients send it as `x-goog-api-key` or `?key=`"
    return _respond(GoogleError(401, message, _STATUSES[401]), {"WWW-Authenticate": 'Bearer realm="guard"'})


def _respond(error: GoogleError, headers: dict[str, str] | None = None) -> Response[bytes]:
    body = msgspec.json.encode(GoogleBody(error))
    return Response(body, status_code=error.code, media_type="application/json", headers=headers)


GOOGLE_EXCEPTION_HANDLERS: dict[Any, Any] = {GoogleRefused: _refused, Unauthenticated: _keyless} | speaking(_told)

"""Who asks, by a request's headers, and what its rates have left, in the answer's."""

from collections.abc import Iterable
from contextvars import ContextVar
from urllib.parse import parse_qs

from litestar.types import Scope

from guard.access import Caller, Gate
from guard.access.keys import Role

__all__ = ["RESPONSE_HEADERS", "admitted", "caller_of"]

RESPONSE_HEADERS: ContextVar[list[tuple[bytes, bytes]]] = ContextVar("response_headers")
"""Headers that the answer to the present request gets besides its own."""


_KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"ocp-apim-subscription-key")
"""Where keys are looked for, in this order; the last three are Azure's, Google's and Azure's again."""


def caller_of(scope: Scope, gate: Gate, role: Role = "client", *, in_query: bool = False) -> Caller:
    """Whose request this is. The key is a bearer token, or in a header that another vendor's clients have for it; with
    `in_query` it may be the address's `?key=`, where no header has one.

    Raises:
        Unauthenticated, Forbidden: see `Gate.caller`.
    """
    presented = ""
    if gate.keys is not None:
        presented = _presented(scope["headers"])
        if in_query and not presented:
            presented = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
    return gate.caller(presented, role)


async def admitted(gate: Gate, caller: Caller, characters: int) -> None:
    """Takes the request from its caller's rates, and tells in OpenAI's headers what is left of them.

    Raises:
        RateLimited: see `Gate.admit`.
    """
    left = await gate.admit(caller, characters)
    headers = RESPONSE_HEADERS.get()
    for unit, allowance in left.items():
        for what, value in (
            ("limit", f"{allowance.limit}"),
            ("remaining", f"{allowance.remaining}"),
            ("reset", f"{allowance.full_in:.3f}s"),
        ):
            headers.append((f"x-ratelimit-{what}-{unit}".encode(), value.encode()))


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> str:
    found = {name: value for name, value in headers if name in _KEY_HEADERS}
    kind, _, token = found.pop(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return token.strip().decode("latin-1")
    return next((found[name].decode("latin-1") for name in _KEY_HEADERS if name in found), "")

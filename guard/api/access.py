"""Who asks, by a request's headers, and what its rates have left, in the answer's."""

from collections.abc import Iterable
from contextvars import ContextVar

from litestar.types import Scope

from guard.access import Caller, Gate
from guard.access.keys import Role

__all__ = ["RESPONSE_HEADERS", "admitted", "caller_of"]

RESPONSE_HEADERS: ContextVar[list[tuple[bytes, bytes]]] = ContextVar("response_headers")
"""Headers that the answer to the present request gets besides its own."""


def caller_of(scope: Scope, gate: Gate, role: Role = "client") -> Caller:
    """Whose request this is. The key is a bearer token, or in `x-api-key` or Azure's `api-key`.

    Raises:
        Unauthenticated, Forbidden: see `Gate.caller`.
    """
    return gate.caller(_presented(scope["headers"]) if gate.keys is not None else "", role)


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
    found = {name: value for name, value in headers if name in (b"authorization", b"x-api-key", b"api-key")}
    kind, _, token = found.get(b"authorization", b"").partition(b" ")
    key = token.strip() if kind.lower() == b"bearer" else found.get(b"x-api-key", found.get(b"api-key", b""))
    return key.decode("latin-1")

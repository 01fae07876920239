"""The gate: whose request this is, and whether it may come in now."""

from guard.access.keys import Caller, KeyBook, Role
from guard.access.rates import Allowance, Limiter
from guard.errors import Forbidden, RateLimited, Unauthenticated
from guard.telemetry import AccessRefused, Listener, Refusal

__all__ = ["Gate"]

_ANYBODY = Caller()


class Gate:
    """Lets requests in. Without `keys` everybody may do everything."""

    def __init__(self, keys: KeyBook | None, limiter: Limiter, listener: Listener) -> None:
        self.keys = keys
        self._limiter = limiter
        self._listener = listener

    def caller(self, presented: str, role: Role = "client") -> Caller:
        """Whose key was presented.

        Raises:
            Unauthenticated: none was, or it is not valid.
            Forbidden: its role does not suffice.
        """
        if self.keys is None:
            return _ANYBODY
        try:
            if not presented:
                raise Unauthenticated("an API key is needed: send it as `Authorization: Bearer guard_…`")
            caller = self.keys.caller(presented)
            caller.require(role)
        except (Unauthenticated, Forbidden) as exc:
            self._refused(exc)
            raise
        return caller

    def policy(self, caller: Caller, named: str | None, default: str) -> str:
        """The name of the policy that a request is under; raises Forbidden for one that is not the caller's."""
        try:
            return caller.policy(named, default)
        except Forbidden as exc:
            self._refused(exc)
            raise

    async def admit(self, caller: Caller, characters: int) -> dict[str, Allowance]:
        """Takes a request of so many characters from the caller's rates; raises RateLimited."""
        if not caller.limited:
            return {}
        try:
            return await self._limiter.admit(caller, characters)
        except RateLimited as exc:
            self._refused(exc)
            raise

    async def close(self) -> None:
        """Gives back what the limiter holds."""
        await self._limiter.close()

    def _refused(self, exc: Exception) -> None:
        self._listener.on_event(AccessRefused(_REASONS[type(exc)]))


_REASONS: dict[type[Exception], Refusal] = {
    Unauthenticated: "unauthenticated",
    Forbidden: "forbidden",
    RateLimited: "rate_limited",
}

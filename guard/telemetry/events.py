"""What happened, as frozen events handed to listeners.

No event carries moderated text: that is why none has a field for it.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from guard.verdict import Verdict

__all__ = [
    "AccessRefused",
    "CacheFailed",
    "CacheStateChanged",
    "Event",
    "KeysChanged",
    "Listener",
    "Listeners",
    "ModerationDone",
    "ModerationFailed",
    "PoliciesChanged",
    "Refusal",
    "RequestDone",
]


class ModerationDone(msgspec.Struct, frozen=True, tag=True):
    """One call of the moderator: its verdicts, and seconds spent in it. `partial`: on a text that is still being
    written."""

    policy: str
    fingerprint: str
    rail: str
    verdicts: tuple[Verdict, ...]
    seconds: float
    judged: int
    judge_tokens: int
    partial: bool = False


class ModerationFailed(msgspec.Struct, frozen=True, tag=True):
    """A stage (`screen`, `judge`) did not answer; the policy's failure action was taken."""

    policy: str
    stage: str
    error: str
    texts: int


class PoliciesChanged(msgspec.Struct, frozen=True, tag=True):
    """The policy folder was looked at and differs: swapped in, or kept out with `problems`."""

    accepted: bool
    policies: tuple[str, ...]
    problems: tuple[str, ...] = ()


class RequestDone(msgspec.Struct, frozen=True, tag=True):
    """One HTTP request; `route` is the route's template, never the path that was asked for."""

    route: str
    method: str
    status: int
    seconds: float


Refusal = Literal["unauthenticated", "forbidden", "rate_limited"]


class AccessRefused(msgspec.Struct, frozen=True, tag=True):
    """A request was not let in."""

    reason: Refusal


class KeysChanged(msgspec.Struct, frozen=True, tag=True):
    """The file of API keys was looked at and differs: `usable` keys are in use; `problem` is what keeps it out."""

    usable: int
    problem: str = ""


class CacheFailed(msgspec.Struct, frozen=True, tag=True):
    """An operation of the shared cache (`get`, `set`) failed: misses, or entries forgotten."""

    operation: Literal["get", "set"]
    error: str


class CacheStateChanged(msgspec.Struct, frozen=True, tag=True):
    """The shared cache is left alone for a while after failures (`open`), or answers again (`closed`)."""

    operation: Literal["get", "set"]
    state: Literal["open", "closed"]
    error: str = ""


Event = (
    ModerationDone
    | ModerationFailed
    | PoliciesChanged
    | RequestDone
    | AccessRefused
    | KeysChanged
    | CacheFailed
    | CacheStateChanged
)


class Listener(Protocol):
    """Something that wants to know. It must be quick and must not raise."""

    def on_event(self, event: Event) -> None:
        """Called once for each event, in order, in the thread where it happened."""


class Listeners:
    """Several listeners as one, told in their order."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = tuple(listeners)

    def on_event(self, event: Event) -> None:
        for listener in self._listeners:
            listener.on_event(event)

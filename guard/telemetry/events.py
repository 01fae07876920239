"""What happened, as frozen events handed to listeners.

No event carries moderated text: that is why none has a field for it.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from guard.verdict import ActionWord, Verdict

__all__ = [
    "AccessRefused",
    "CacheFailed",
    "CacheStateChanged",
    "CollectorChanged",
    "CollectorState",
    "Event",
    "KeysChanged",
    "Listener",
    "Listeners",
    "ModerationDone",
    "ModerationFailed",
    "PoliciesChanged",
    "RailDone",
    "RecordsKept",
    "Refusal",
    "RequestDone",
    "SpansDone",
    "Stage",
    "StoreFailed",
    "StoreOperation",
    "StoreStateChanged",
    "StreamBegun",
    "UpstreamDone",
    "UpstreamOutcome",
]


Stage = Literal["normalise", "cache", "screen", "judge"]


class ModerationDone(msgspec.Struct, frozen=True, tag=True):
    """One call of the moderator: its verdicts, and seconds spent in it. `partial`: on a text that is still being
    written. `stages`: the seconds of those that it went through itself; where another call is waited for, the work is
    that call's."""

    policy: str
    fingerprint: str
    rail: str
    verdicts: tuple[Verdict, ...]
    seconds: float
    judged: int
    judge_tokens: int
    partial: bool = False
    stages: tuple[tuple[Stage, float], ...] = ()


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
    """An operation on Redis failed: `get` and `set` are the cache's (misses, or entries forgotten), `rates` takes from
    a key's rates (each replica counts by itself)."""

    operation: Literal["get", "set", "rates"]
    error: str


class CacheStateChanged(msgspec.Struct, frozen=True, tag=True):
    """Redis is left alone for a while after failures (`open`), or answers again (`closed`)."""

    operation: Literal["get", "set", "rates"]
    state: Literal["open", "closed"]
    error: str = ""


UpstreamOutcome = Literal["ok", "refused", "timeout", "failed", "abandoned"]


class UpstreamDone(msgspec.Struct, frozen=True, tag=True):
    """One chat that a server was asked to answer.

    `refused`: it did not want the request; `abandoned`: nobody wanted the rest, as after a block or where the client
    has left. `first_token`: seconds until a stream's first words, None where there were none, or no stream.
    """

    upstream: str
    outcome: UpstreamOutcome
    seconds: float
    first_token: float | None = None


class RailDone(msgspec.Struct, frozen=True, tag=True):
    """One side of a guarded chat was checked to its end; the hardest action that was found."""

    policy: str
    rail: Literal["input", "output"]
    action: ActionWord


class StreamBegun(msgspec.Struct, frozen=True, tag=True):
    """The first words of a guarded stream leave, `seconds` after its prompt came to the input rail."""

    policy: str
    seconds: float


class SpansDone(msgspec.Struct, frozen=True, tag=True):
    """Spans of traced requests were `sent` to the collector, were not taken by it (`failed`), or found no room among
    those that wait for it (`dropped`)."""

    outcome: Literal["sent", "failed", "dropped"]
    spans: int


CollectorState = Literal["failing", "answering"]


class CollectorChanged(msgspec.Struct, frozen=True, tag=True):
    """The collector of traces does not take them any more, or takes them again. `error`: its status, or the kind of
    error."""

    state: CollectorState
    error: str = ""


class RecordsKept(msgspec.Struct, frozen=True, tag=True):
    """A call has left records, which are committed."""

    policy: str
    records: int


StoreOperation = Literal["add", "read", "delete", "purge"]


class StoreFailed(msgspec.Struct, frozen=True, tag=True):
    """An operation of the store of records failed: what was to be added is not kept, as far as one knows."""

    operation: StoreOperation
    error: str


class StoreStateChanged(msgspec.Struct, frozen=True, tag=True):
    """What keeps the store from taking records; empty: it takes them again."""

    problem: str = ""


Event = (
    ModerationDone
    | ModerationFailed
    | PoliciesChanged
    | RequestDone
    | AccessRefused
    | KeysChanged
    | CacheFailed
    | CacheStateChanged
    | UpstreamDone
    | RailDone
    | StreamBegun
    | SpansDone
    | CollectorChanged
    | RecordsKept
    | StoreFailed
    | StoreStateChanged
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

"""What happened, as frozen events handed to listeners.

No event carries moderated text: that is why none has a field for it.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from guard.verdict import Action, ActionWord, Verdict

__all__ = [
    "AccessRefused",
    "CacheFailed",
    "CacheStateChanged",
    "CategoryFlip",
    "CollectorChanged",
    "CollectorState",
    "DropReason",
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
    "ShadowDone",
    "ShadowDropped",
    "ShadowOutcome",
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


ShadowOutcome = Literal["same", "harder", "milder"]


class CategoryFlip(msgspec.Struct, frozen=True):
    """A category whose action is another one under the candidate; a score is null where a policy does not check it."""

    category: str
    before: ActionWord
    after: ActionWord
    score_before: float | None
    score_after: float | None

    @property
    def direction(self) -> Literal["harder", "milder"]:
        """Of the candidate's action."""
        return "harder" if Action.of(self.after) > Action.of(self.before) else "milder"


class ShadowDone(msgspec.Struct, frozen=True, tag=True):
    """What a candidate policy would have done about one text, beside what the policy in use did.

    It is a record too: `request_id` and `number` (the text's place in that call, from 0) say of which text, and the
    text itself is nowhere in it. `judged` and `judge_tokens` is what it cost.
    """

    policy: str
    fingerprint: str
    candidate: str
    candidate_fingerprint: str
    request_id: str
    number: int
    rail: str
    before: ActionWord
    after: ActionWord
    flips: tuple[CategoryFlip, ...] = ()
    judged: int = 0
    judge_tokens: int = 0

    @property
    def outcome(self) -> ShadowOutcome:
        """The candidate's action as a whole, beside that of the policy in use."""
        before, after = Action.of(self.before), Action.of(self.after)
        return "same" if before == after else "harder" if after > before else "milder"


DropReason = Literal["busy", "long", "degraded", "categories", "failed", "record"]


class ShadowDropped(msgspec.Struct, frozen=True, tag=True):
    """A text that was not compared.

    `busy`: too many wait; `long`: it would take too long to read anew; `degraded`: a stage failed on one side;
    `categories`: the request names some that the candidate does not check; `failed`: a mistake in Guard, whose kind is
    the `error`. Of `record` the comparison is there, and its record is not: the store fails, or too many wait for it.
    """

    policy: str
    candidate: str
    reason: DropReason
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
    | UpstreamDone
    | RailDone
    | StreamBegun
    | SpansDone
    | CollectorChanged
    | RecordsKept
    | StoreFailed
    | StoreStateChanged
    | ShadowDone
    | ShadowDropped
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

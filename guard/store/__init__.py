"""The store of records: what was decided, kept for those who look at it later.

    Store        the contract, on this page
    SqliteStore  one file, shared by the processes of one machine
    Recorder     which verdicts leave a record, and what of a text is in it

What `add` has returned from outlives the process. A store that fails raises StoreError and nothing else: its caller
decides what follows. This page imports no database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from guard.content import Content, Rail, Turn
from guard.telemetry import CategoryFlip
from guard.verdict import ActionWord, Assessment, Verdict

__all__ = ["EVERYTHING", "MOST", "Beside", "Finding", "Page", "Query", "Record", "Route", "Sight", "Store"]

Route = Literal["moderate", "chat", "shadow"]
MOST = 200
"""Records of one page."""


class Finding(NamedTuple):
    """A content, what was found out about it, and what the policy made of that."""

    content: Content
    verdict: Verdict
    assessment: Assessment


class Beside(msgspec.Struct, frozen=True):
    """The verdict that was given of a text, in the record of what a candidate would have said of it.

    Attributes:
        record: the id that its own record has, where it left one.
        policy, fingerprint: which version of which policy decided.
        action: what that policy did, whatever else the request demanded.
        flips: the categories whose action is another one under the candidate.
    """

    record: str
    policy: str
    fingerprint: str
    action: ActionWord
    flips: tuple[CategoryFlip, ...]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict, as it was given; or, of the route `shadow`, as a candidate would have given it: nobody was told.

    Attributes:
        id: the answer's id and the text's number in the call, such as `mod_0123…-0`; a shadow's has a point and the
            candidate's name behind it.
        time: when it was made; UTC, as all times here.
        expires: after that nobody sees it any more; a shorter retention of the policy's counts from `time` on.
        request_id: the answer's `X-Request-Id`, which the log has too.
        tenant, key: whose call it was, and the name of its key; empty without keys.
        route: the kind of the call.
        policy, fingerprint: which version of which policy decided.
        screen, judge: the models; None where no judge is configured.
        role: who wrote the text; empty where nobody said, `other` for a role that is none of the usual.
        verdict: as the API answers it, without its explanation; `redacted` where the text is kept.
        assessment: the scores, rules and failures that the verdict rests on.
        text: None where the policy keeps no texts; redacted where the policy redacts.
        context: the turns before it, oldest first; only where the policy redacts nothing.
        beside: in a shadow's record, which never has a text, the verdict that was given; else absent.
    """

    id: str
    time: datetime
    expires: datetime
    request_id: str
    tenant: str
    key: str
    route: Route
    policy: str
    fingerprint: str
    screen: str
    judge: str | None
    rail: Rail
    role: str
    action: ActionWord
    verdict: Verdict
    assessment: Assessment
    text: str | None = None
    context: tuple[Turn, ...] = ()
    beside: Beside | msgspec.UnsetType = msgspec.UNSET


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which records: all that fit, newest first. `after` is the `next` of the page before, `since` has a zone.

    `shadow`: those of shadows, and no others; without it, none of theirs: what nobody was told is no answer of Guard's.
    """

    policy: str | None = None
    action: ActionWord | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 50
    after: str | None = None
    shadow: bool = False


class Page(msgspec.Struct, frozen=True):
    """Some records, newest first. `next` asks for those behind them (`after`); null where there are none."""

    records: tuple[Record, ...]
    next: str | None = None


class Sight(msgspec.Struct, frozen=True):
    """Whose records somebody may see: a tenant's, or all (None); under these policies, or under any (empty). A shadow's
    is under two of them."""

    tenant: str | None = None
    policies: tuple[str, ...] = ()


EVERYTHING = Sight()


class Store(Protocol):
    """Keeps records until they expire. Safe to call concurrently from one event loop.

    No record is shown after its time, whether it has been deleted by then or not.
    """

    @property
    def waiting(self) -> int:
        """Records that are on their way in."""

    @property
    def room(self) -> int:
        """How many may be."""

    @property
    def problem(self) -> str:
        """What keeps it from taking records, as far as that was noticed; empty where all is well."""

    async def add(self, records: Sequence[Record], *, seconds: float) -> None:
        """Keeps all of them or none, and returns once they would outlive the process.

        Raises:
            StoreError: it cannot, or not within so many `seconds`; in that case they may be there all the same.
        """

    async def find(self, query: Query, sight: Sight = EVERYTHING) -> Page:
        """A page of records; shorter than asked for where they are large.

        Raises:
            InvalidContent: `after` is no page's `next`.
            StoreError: it cannot be read, or not in time.
        """

    async def get(self, id: str, sight: Sight = EVERYTHING) -> Record | None:
        """One record; None where there is none to be seen. Raises StoreError."""

    async def delete(self, id: str, sight: Sight = EVERYTHING) -> bool:
        """Removes one record from all files, with those of the shadows beside it; whether there was one to be seen.
        Raises StoreError."""

    async def purge(self) -> int:
        """Removes what has expired from all files; how many records. Raises StoreError."""

    async def close(self) -> None:
        """Finishes what was begun; the store is not used afterwards."""

"""Which verdicts leave a record, and what of a text is in it: as the policy says, and never more than the call allows.

The turns before a text were not checked by themselves, so nobody knows what the policy would redact in them: a policy
that redacts keeps no context.

What a shadow would have said otherwise leaves a record too, where the call leaves records and the candidate keeps
verdicts; it never has a text. Nobody waits for these.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from guard.content import Content
from guard.errors import InvalidContent, StoreError
from guard.policy import Policy, decide
from guard.store import Beside, Finding, Record, Route, Store
from guard.telemetry import REQUEST_ID, Listener, RecordsKept, ShadowDropped
from guard.text import normalise
from guard.verdict import Verdict

__all__ = ["CALL", "NOT_STORED", "Call", "Keeping", "Numbers", "Recorder", "keeping"]

NOT_STORED = "not_stored: the store failed"
"""What a verdict says, among its reasons, that was to leave a record and has left none."""

MOST_SECONDS = 2.0
"""How long an answer may wait for its records, where the policy's deadline does not end sooner."""
MOST_FLIPS = 512
"""Records of shadows that wait for the store."""
FLIPS = 8
"""Records of shadows that go to the store together: a live one in the same transaction waits for no more."""
_ROLES = frozenset({"", "system", "developer", "user", "assistant", "tool", "function"})
_KINDS = frozenset({"audio", "file", "image", "image_url", "input_audio", "input_file", "input_image", "video_url"})


class Keeping(NamedTuple):
    """What of a call is kept: the verdicts that flag or all of them, with or without their texts."""

    verdicts: Literal["flagged", "all"]
    texts: bool


class Numbers:
    """The numbers of one call's texts, in the order in which they are first asked for: for a record, or by a shadow.

    They go by the object: two texts of a call may be equal.
    """

    def __init__(self) -> None:
        # With the content, so that no other gets its place in memory.
        self._known: dict[int, tuple[Content, int]] = {}

    def of(self, content: Content) -> int:
        """The content's number, from 0 on."""
        return self._known.setdefault(id(content), (content, len(self._known)))[1]


class Call(msgspec.Struct, frozen=True):
    """One call that may leave records. `only`: the categories that it asked for."""

    id: str
    route: Route
    tenant: str
    key: str
    policy: Policy
    keeping: Keeping
    only: frozenset[str] | None = None
    numbers: Numbers = msgspec.field(default_factory=Numbers)

    def record(self, content: Content) -> str:
        """The id of the record of one of its texts."""
        return f"{self.id}-{self.numbers.of(content)}"


CALL: ContextVar[Call | None] = ContextVar("call", default=None)
"""The call that is being answered; None where it leaves no records."""


def keeping(policy: Policy, asked: bool | None, *, stored: bool) -> Keeping | None:
    """What is kept of a call under a policy; None: nothing. `asked` is the request's `store`, `stored` whether a store
    is set.

    Raises:
        InvalidContent: the request asks for its texts to be kept, and they cannot be.
    """
    spec = policy.spec
    if asked:
        if not stored:
            raise InvalidContent("no store is set (GUARD_STORE): send `store: false`, or leave it out", path="$.store")
        if not spec.store_texts:
            raise InvalidContent(
                f"the policy `{policy.name}` keeps no texts (store_texts): send `store: false`, or leave it out",
                path="$.store",
            )
        return Keeping("all", texts=True)
    if asked is False or not stored or spec.store_verdicts == "none":
        return None
    return Keeping(spec.store_verdicts, spec.store_texts)


class Recorder:
    """Makes records of findings and has them kept. `screen`, `judge`: the models' names."""

    def __init__(
        self,
        store: Store,
        listener: Listener,
        *,
        screen: str,
        judge: str | None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = store
        self._listener = listener
        self._screen = screen
        self._judge = judge
        self._wall_clock = wall_clock
        self._under_way: set[asyncio.Task[frozenset[int]]] = set()
        self._flips: deque[Record] = deque()
        self._keeping_flips: asyncio.Task[None] | None = None
        self._closed = False

    async def keep(self, call: Call, findings: Sequence[Finding]) -> frozenset[int]:
        """Keeps what is to be kept of a call's findings. Which of them, by their places, were to be kept and are not:
        none, or all that were to be.

        Raises:
            StoreError: they are not, and the policy refuses the answer then.
        """
        ids = [call.record(finding.content) for finding in findings]
        wanted = {
            place: finding
            for place, finding in enumerate(findings)
            if call.keeping.verdicts == "all" or finding.verdict.flagged
        }
        if not wanted:
            return frozenset()
        spec = call.policy.spec
        records = [self._record(call, finding, ids[place]) for place, finding in wanted.items()]
        try:
            await self.store.add(records, seconds=min(MOST_SECONDS, spec.deadline_ms / 1e3))
        except StoreError as exc:
            if spec.when_store_fails == "refuse":
                said = "the record of this call could not be kept, and its policy wants no answer without one"
                raise StoreError(said) from exc
            return frozenset(wanted)
        self._listener.on_event(RecordsKept(call.policy.name, len(records)))
        return frozenset()

    def keeping_on(self, call: Call, findings: Sequence[Finding]) -> asyncio.Task[frozenset[int]]:
        """As `keep`, and goes on where its caller is cancelled (`asyncio.shield`) or does not wait for it at all."""
        task = asyncio.create_task(self.keep(call, findings))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return task

    def flipped(
        self, policy: Policy, candidate: Policy, finding: Finding, beside: Beside, *, tenant: str, key: str
    ) -> None:
        """Has it kept what a candidate would have said of a text that `policy` decided; returns at once.

        `finding`: the candidate's. Its record has no text: the text is in the record beside it, as the policy that
        decided keeps it, and goes with that.
        """
        if candidate.spec.store_verdicts == "none" or self._closed:
            return
        if len(self._flips) >= MOST_FLIPS:
            self._lost(policy.name, candidate.name)
            return
        days = min(policy.spec.retention_days, candidate.spec.retention_days)
        self._flips.append(self._flip(candidate, finding, beside, tenant, key, days))
        if self._keeping_flips is None:
            self._keeping_flips = asyncio.create_task(self._keep_flips())

    async def close(self) -> None:
        """Waits for what is being kept, and closes the store. Records of shadows that wait are forgotten."""
        self._closed = True
        self._flips.clear()
        under_way = [*self._under_way, *([self._keeping_flips] if self._keeping_flips is not None else [])]
        await asyncio.gather(*under_way, return_exceptions=True)
        await self.store.close()

    async def _keep_flips(self) -> None:
        while self._flips:
            records = [self._flips.popleft() for _ in range(min(FLIPS, len(self._flips)))]
            try:
                # Half of the room is for those that somebody waits for. So are the tries at a store that fails: after
                # three in a row it is left alone.
                if self.store.problem or 2 * self.store.waiting > self.store.room:
                    raise StoreError("records that somebody waits for go first")
                await self.store.add(records, seconds=MOST_SECONDS)
            except Exception:  # noqa: BLE001  whatever it is, nobody waits for these, and the next may be kept
                for record in records:
                    self._lost(record.beside.policy if isinstance(record.beside, Beside) else "", record.policy)
            else:
                for record in records:
                    self._listener.on_event(RecordsKept(record.policy, 1))
        self._keeping_flips = None

    def _lost(self, policy: str, candidate: str) -> None:
        self._listener.on_event(ShadowDropped(policy, candidate, "record"))

    def _done(self, task: asyncio.Task[frozenset[int]]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Whoever does not wait was told by listeners.
            task.exception()

    def _flip(self, candidate: Policy, finding: Finding, beside: Beside, tenant: str, key: str, days: int) -> Record:
        content, verdict, assessment = finding
        now = self._wall_clock()
        return Record(
            id=f"{beside.record}.{candidate.name}",
            time=now,
            expires=now + timedelta(days=days),
            request_id=REQUEST_ID.get(),
            tenant=tenant,
            key=key,
            route="shadow",
            policy=candidate.name,
            fingerprint=candidate.fingerprint,
            screen=self._screen,
            judge=self._judge,
            rail=content.rail,
            role=content.role if content.role in _ROLES else "other",
            action=verdict.action,
            verdict=_bare(verdict, redacted=None),
            assessment=msgspec.structs.replace(assessment, error=""),
            beside=beside,
        )

    def _record(self, call: Call, finding: Finding, id: str) -> Record:
        content, verdict, assessment = finding
        now = self._wall_clock()
        text = _text(call, finding) if call.keeping.texts else None
        return Record(
            id=id,
            time=now,
            expires=now + timedelta(days=call.policy.spec.retention_days),
            request_id=REQUEST_ID.get(),
            tenant=call.tenant,
            key=call.key,
            route=call.route,
            policy=call.policy.name,
            fingerprint=call.policy.fingerprint,
            screen=self._screen,
            judge=self._judge,
            rail=content.rail,
            role=content.role if content.role in _ROLES else "other",
            action=verdict.action,
            verdict=_bare(verdict, redacted=verdict.redacted if text is not None else None),
            assessment=msgspec.structs.replace(assessment, error=""),
            text=text,
            context=content.context if text is not None and not call.policy.redacts else (),
        )


def _text(call: Call, finding: Finding) -> str | None:
    """The text as it may be kept: redacted as the whole policy redacts it, whatever categories the call asked for.
    None where the policy redacts and the screen, which finds what, has failed."""
    content, verdict, assessment = finding
    if not call.policy.redacts:
        return content.text
    if "screen" in assessment.failures:
        return None
    redacted = verdict.redacted if call.only is None else _redacted(content, finding, call.policy)
    return redacted if redacted is not None else content.text


def _redacted(content: Content, finding: Finding, policy: Policy) -> str | None:
    return decide(policy, finding.assessment, normalise(content.text), rail=content.rail).redacted


def _bare(verdict: Verdict, *, redacted: str | None) -> Verdict:
    """A verdict without the words of clients: no explanation, and no kinds of parts that a client has made up."""
    return msgspec.structs.replace(
        verdict,
        redacted=redacted,
        explanation=msgspec.UNSET,
        cuts=msgspec.UNSET,
        uninspected=tuple([_known(part) for part in verdict.uninspected]),
    )


def _known(part: str) -> str:
    path, _, kind = part.partition(": ")
    return part if not part.startswith("$") or kind in _KINDS else path

"""Which verdicts leave a record, and what of a text is in it: as the policy says, and never more than the call allows.

The turns before a text were not checked by themselves, so nobody knows what the policy would redact in them: a policy
that redacts keeps no context.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from guard.content import Content
from guard.errors import InvalidContent, StoreError
from guard.policy import Policy, decide
from guard.store import Finding, Record, Route, Store
from guard.telemetry import REQUEST_ID, Listener, RecordsKept
from guard.text import normalise
from guard.verdict import Verdict

__all__ = ["NOT_STORED", "Call", "Keeping", "Recorder", "keeping"]

NOT_STORED = "not_stored: the store failed"
"""What a verdict says, among its reasons, that was to leave a record and has left none."""

MOST_SECONDS = 2.0
"""How long an answer may wait for its records, where the policy's deadline does not end sooner."""
_ROLES = frozenset({"", "system", "developer", "user", "assistant", "tool", "function"})
_KINDS = frozenset({"audio", "file", "image", "image_url", "input_audio", "input_file", "input_image", "video_url"})


class Keeping(NamedTuple):
    """What of a call is kept: the verdicts that flag or all of them, with or without their texts."""

    verdicts: Literal["flagged", "all"]
    texts: bool


class Call(NamedTuple):
    """One call that may leave records. `only`: the categories that it asked for."""

    id: str
    route: Route
    tenant: str
    key: str
    policy: Policy
    keeping: Keeping
    only: frozenset[str] | None = None


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

    async def keep(self, call: Call, findings: Sequence[Finding], *, first: int = 0) -> frozenset[int]:
        """Keeps what is to be kept of a call's findings, the numbers of which begin with `first`. Which of them, by
        their places, were to be kept and are not: none, or all that were to be.

        Raises:
            StoreError: they are not, and the policy refuses the answer then.
        """
        wanted = {
            place: finding
            for place, finding in enumerate(findings)
            if call.keeping.verdicts == "all" or finding.verdict.flagged
        }
        if not wanted:
            return frozenset()
        spec = call.policy.spec
        records = [self._record(call, finding, first + place) for place, finding in wanted.items()]
        try:
            await self.store.add(records, seconds=min(MOST_SECONDS, spec.deadline_ms / 1e3))
        except StoreError as exc:
            if spec.when_store_fails == "refuse":
                said = "the record of this call could not be kept, and its policy wants no answer without one"
                raise StoreError(said) from exc
            return frozenset(wanted)
        self._listener.on_event(RecordsKept(call.policy.name, len(records)))
        return frozenset()

    def keeping_on(self, call: Call, findings: Sequence[Finding], *, first: int = 0) -> asyncio.Task[frozenset[int]]:
        """As `keep`, and goes on where its caller is cancelled (`asyncio.shield`) or does not wait for it at all."""
        task = asyncio.create_task(self.keep(call, findings, first=first))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Waits for what is being kept, and closes the store."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self.store.close()

    def _done(self, task: asyncio.Task[frozenset[int]]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Whoever does not wait was told by listeners.
            task.exception()

    def _record(self, call: Call, finding: Finding, number: int) -> Record:
        content, verdict, assessment = finding
        now = self._wall_clock()
        text = _text(call, finding) if call.keeping.texts else None
        return Record(
            id=f"{call.id}-{number}",
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

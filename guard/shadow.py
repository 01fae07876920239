"""Shadows: what a candidate policy would have said of texts that another one has decided, compared with that.

    verdict under the live policy --seen--> same assessment?  yes: decided again, from the very same scores
                                                              no:  read anew, when there is nothing else to do
                                       --> ShadowDone to the listeners, a record of it where it differs

Nobody waits for a shadow. It takes what live traffic leaves; what does not fit is dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import NamedTuple

from guard.content import Content
from guard.errors import InvalidContent, Overloaded
from guard.judge import Answers, Inquiry, Judge
from guard.moderator import Moderator
from guard.policy import Policy, decide
from guard.screen import Material, Screen
from guard.store import Beside, Finding
from guard.store.recorder import CALL, Recorder
from guard.telemetry import REQUEST_ID, CategoryFlip, DropReason, Listener, ShadowDone, ShadowDropped
from guard.verdict import Assessment, CategoryVerdict, Verdict

__all__ = ["LONG", "MOST_CHARACTERS", "MOST_TEXTS", "LeisurelyJudge", "LeisurelyScreen", "Shadow"]

MOST_TEXTS = 512
"""Texts that wait for their shadows."""
MOST_CHARACTERS = 2_000_000
"""Characters of all texts that wait, with the turns before them."""
LONG = 4_000
"""Characters up to which a text is read anew: a live text may have to wait for that."""
WORKERS = 8
"""Texts that are read anew at the same time, by the screen or the judge; those two let in fewer."""
PIECE = 8
"""Texts that are decided again at a stretch: some tenths of a millisecond."""
MOMENT = 0.01
"""Seconds after which the answer is out; also how long to wait before each look whether others are busy."""


class _Leisure:
    """Lets so many in at once, and only while `spare()` says that nobody else would wait for them."""

    def __init__(self, spare: Callable[[], bool], at_once: int) -> None:
        self._spare = spare
        self._room = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        async with self._room:
            # Not at once: whoever has just been answered may be about to ask again.
            await asyncio.sleep(MOMENT)
            # How busy others are is looked up, for they have better to do than to tell.
            while not self._spare():  # noqa: ASYNC110
                await asyncio.sleep(MOMENT)
            yield


class LeisurelyScreen:
    """A screen that reads the texts of so many calls at once, and begins only while `spare()`."""

    def __init__(self, screen: Screen, spare: Callable[[], bool], *, at_once: int = 1) -> None:
        self.name = screen.name
        self.fingerprint = screen.fingerprint
        self.model = screen.model
        self._screen = screen
        self._leisure = _Leisure(spare, at_once)

    def prepare(self, policy: Policy) -> None:
        """See `Screen.prepare`."""
        self._screen.prepare(policy)

    async def assess(
        self, materials: Sequence[Material], policy: Policy, *, deadline: float | None = None
    ) -> list[Assessment]:
        """See `Screen.assess`."""
        async with self._leisure.one():
            return await self._screen.assess(materials, policy, deadline=deadline)


class LeisurelyJudge:
    """A judge that begins only while `spare()`; what has begun counts there as anybody's."""

    def __init__(self, judge: Judge, spare: Callable[[], bool]) -> None:
        self.name = judge.name
        self.fingerprint = judge.fingerprint
        self._judge = judge
        self._leisure = _Leisure(spare, 1)

    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        """See `Judge.answer`."""
        async with self._leisure.one():
            pass
        return await self._judge.answer(inquiries, deadline=deadline)

    async def close(self) -> None:
        """The judge is others' too: they close it."""


class _Item(NamedTuple):
    """A text under one candidate, waiting. `number`: its place in its request; `size`: its characters; `record`: the id
    of its own record, empty where the call leaves none, and `key` the name of the call's key."""

    policy: Policy
    candidate: Policy
    content: Content
    material: Material
    assessment: Assessment
    verdict: Verdict
    only: frozenset[str] | None
    tenant: str
    request_id: str
    number: int
    size: int
    record: str
    key: str


class Shadow:
    """Compares candidates with what was decided. For one event loop.

    `candidates` gives those of a policy by its name. `moderator` reads for them alone: it tells no listener, and its
    screen and judge take their time. `recorder` keeps what differs, of calls that leave records.
    """

    def __init__(
        self,
        candidates: Callable[[str], Sequence[Policy]],
        moderator: Moderator,
        listener: Listener,
        recorder: Recorder | None = None,
    ) -> None:
        self._candidates = candidates
        self._moderator = moderator
        self._listener = listener
        self._recorder = recorder
        self._again: deque[_Item] = deque()
        self._anew: deque[_Item] = deque()
        self._come = asyncio.Event()
        self._timer: asyncio.Handle | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._texts = 0
        self._characters = 0

    @property
    def waiting(self) -> int:
        """Texts that wait or are in work, once for each candidate."""
        return self._texts

    def seen(
        self,
        policy: Policy,
        contents: Sequence[Content],
        materials: Sequence[Material],
        assessments: Sequence[Assessment],
        verdicts: Sequence[Verdict],
        *,
        only: frozenset[str] | None,
        tenant: str,
    ) -> None:
        """Is told of verdicts that are on their way to whoever asked for them; returns at once."""
        candidates = self._candidates(policy.name)
        if not candidates:
            return
        request_id = REQUEST_ID.get()
        call = CALL.get()
        key = call.key if call is not None else ""
        for number, content in enumerate(contents):
            size = len(content.text) + sum([len(turn.text) for turn in content.context])
            record = call.record(content) if call is not None else ""
            for candidate in candidates:
                self._take(
                    _Item(
                        policy, candidate, content, materials[number], assessments[number], verdicts[number], only,
                        tenant, request_id, number, size, record, key,
                    )
                )  # fmt: skip

    async def close(self) -> None:
        """Ends all work; what waits is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._again.clear()
        self._anew.clear()

    def _take(self, item: _Item) -> None:
        same = item.candidate.assessment_fingerprint == item.policy.assessment_fingerprint
        if item.verdict.degraded:
            # What failed would be compared, not the policies.
            self._drop(item, "degraded")
        elif not same and len(item.content.text) > LONG:
            self._drop(item, "long")
        elif self._texts >= MOST_TEXTS or self._characters + item.size > MOST_CHARACTERS:
            self._drop(item, "busy")
        else:
            self._texts += 1
            self._characters += item.size
            if same:
                self._again.append(item)
                if self._timer is None:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(MOMENT, self._decide_again, context=Context())
            else:
                self._anew.append(item)
                self._come.set()
                if not self._workers:
                    loop = asyncio.get_running_loop()
                    self._workers = [loop.create_task(self._work(), context=Context()) for _ in range(WORKERS)]

    def _decide_again(self) -> None:
        for _ in range(min(PIECE, len(self._again))):
            item = self._again.popleft()
            self._left(item)
            try:
                verdict = decide(
                    item.candidate,
                    item.assessment,
                    item.material.normalised,
                    rail=item.content.rail,
                    only=item.only,
                    judge=self._moderator.judge is not None,
                )
                self._compared(item, verdict, item.assessment, 0, 0)
            except Exception as exc:  # noqa: BLE001  whatever it is, the next text has nothing to do with it
                self._drop(item, "failed", exc)
        self._timer = None
        if self._again:
            self._timer = asyncio.get_running_loop().call_soon(self._decide_again)

    async def _work(self) -> None:
        while True:
            while not self._anew:
                self._come.clear()
                await self._come.wait()
            item = self._anew.popleft()
            try:
                await self._read_anew(item)
            finally:
                self._left(item)

    async def _read_anew(self, item: _Item) -> None:
        try:
            done = await self._moderator.moderate(
                [item.content], item.candidate, only=item.only, patient=True, tenant=item.tenant
            )
            (verdict,) = done.verdicts
            if verdict.degraded:
                self._drop(item, "degraded")
            else:
                self._compared(item, verdict, done.assessments[0], done.judged, done.judge_tokens)
        except InvalidContent:
            # The request names categories that the candidate does not check.
            self._drop(item, "categories")
        except Overloaded:
            self._drop(item, "busy")
        except Exception as exc:  # noqa: BLE001  whatever it is, the next text has nothing to do with it
            self._drop(item, "failed", exc)

    def _compared(self, item: _Item, verdict: Verdict, assessment: Assessment, judged: int, judge_tokens: int) -> None:
        REQUEST_ID.set(item.request_id)
        before, flips = item.verdict.action, _flips(item.verdict.categories, verdict.categories)
        self._listener.on_event(
            ShadowDone(
                policy=item.policy.name,
                fingerprint=item.policy.fingerprint,
                candidate=item.candidate.name,
                candidate_fingerprint=item.candidate.fingerprint,
                request_id=item.request_id,
                number=item.number,
                rail=item.content.rail.value,
                before=before,
                after=verdict.action,
                flips=flips,
                judged=judged,
                judge_tokens=judge_tokens,
            )
        )
        if self._recorder is not None and item.record and (flips or before != verdict.action):
            self._recorder.flipped(
                item.policy,
                item.candidate,
                Finding(item.content, verdict, assessment),
                Beside(item.record, item.policy.name, item.policy.fingerprint, before, flips),
                tenant=item.tenant,
                key=item.key,
            )

    def _drop(self, item: _Item, reason: DropReason, error: Exception | None = None) -> None:
        # Only the kind: what an error says may quote the text.
        kind = type(error).__name__ if error is not None else ""
        self._listener.on_event(ShadowDropped(item.policy.name, item.candidate.name, reason, kind))

    def _left(self, item: _Item) -> None:
        self._texts -= 1
        self._characters -= item.size


def _flips(before: dict[str, CategoryVerdict], after: dict[str, CategoryVerdict]) -> tuple[CategoryFlip, ...]:
    """The categories whose action differs; one that a policy does not have allows."""
    flips = []
    for name in before if before.keys() == after.keys() else dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        action, other = (old.action if old is not None else "allow"), (new.action if new is not None else "allow")
        if action != other:
            scores = (old.score if old is not None else None), (new.score if new is not None else None)
            flips.append(CategoryFlip(name, action, other, *scores))
    return tuple(flips)

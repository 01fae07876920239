"""Every case asked, every answer held against what its author expects."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Literal

import msgspec

from guard.content import Content
from guard.errors import Overloaded
from guard.moderator import Moderator
from guard.policy import Policy
from guard.regress.cases import Case
from guard.verdict import Assessment, Verdict

__all__ = ["Outcome", "Status", "read", "run"]

BATCH = 32
"""Cases that are moderated in one call."""
AHEAD = 4
"""Calls in flight: enough that the encoder's threads never wait."""

Status = Literal["passed", "failed", "known failure", "fixed"]


class Outcome(msgspec.Struct, frozen=True):
    """What became of one case: the verdict, and what in it is not as expected."""

    case: Case
    verdict: Verdict
    missed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the verdict is as expected."""
        return not self.missed

    @property
    def status(self) -> Status:
        """`known failure` and `fixed` are cases that are marked as failing today, and do or do not."""
        if self.case.known_failure:
            return "fixed" if self.passed else "known failure"
        return "passed" if self.passed else "failed"


async def run(moderator: Moderator, policy: Policy, cases: Sequence[Case]) -> AsyncIterator[Outcome]:
    """Asks every case, and tells of each in their order. Nothing is shed and nothing has a deadline.

    A stage that fails shows in the verdict (`degraded`), as everywhere.
    """
    async with aclosing(read(moderator, policy, [case.content() for case in cases])) as verdicts:
        remaining = iter(cases)
        async for verdict, _ in verdicts:
            case = next(remaining)
            yield Outcome(case, verdict, tuple(case.missed_by(verdict)))


async def read(
    moderator: Moderator, policy: Policy, contents: Sequence[Content]
) -> AsyncGenerator[tuple[Verdict, Assessment], None]:
    """The verdict on each content, in their order, and what it rests on; several calls at the same time."""
    calls = [contents[start : start + BATCH] for start in range(0, len(contents), BATCH)]
    waiting: list[asyncio.Task[list[tuple[Verdict, Assessment]]]] = []
    begun = 0
    try:
        for _ in calls:
            while begun < len(calls) and len(waiting) < AHEAD:
                waiting.append(asyncio.create_task(_read(moderator, policy, calls[begun])))
                begun += 1
            for pair in await waiting.pop(0):
                yield pair
    finally:
        for task in waiting:
            task.cancel()


async def _read(moderator: Moderator, policy: Policy, contents: Sequence[Content]) -> list[tuple[Verdict, Assessment]]:
    while True:
        try:
            found = await moderator.moderate(contents, policy, patient=True)
            return list(zip(found.verdicts, found.assessments, strict=True))
        except Overloaded:
            # Other calls of this very run fill the queue.
            await asyncio.sleep(0.05)

"""Every case asked, every answer held against what its author expects."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import msgspec

from guard.errors import Overloaded
from guard.moderator import Moderator
from guard.policy import Policy
from guard.regress.cases import Case
from guard.verdict import Verdict

__all__ = ["Outcome", "Status", "run"]

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
    calls = [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]
    waiting: list[asyncio.Task[tuple[Verdict, ...]]] = []
    begun = 0
    try:
        for batch in calls:
            while begun < len(calls) and len(waiting) < AHEAD:
                waiting.append(asyncio.create_task(_verdicts(moderator, policy, calls[begun])))
                begun += 1
            for case, verdict in zip(batch, await waiting.pop(0), strict=True):
                yield Outcome(case, verdict, tuple(case.missed_by(verdict)))
    finally:
        for task in waiting:
            task.cancel()


async def _verdicts(moderator: Moderator, policy: Policy, cases: Sequence[Case]) -> tuple[Verdict, ...]:
    contents = [case.content() for case in cases]
    while True:
        try:
            return (await moderator.moderate(contents, policy, patient=True)).verdicts
        except Overloaded:
            # Other calls of this very run fill the queue.
            await asyncio.sleep(0.05)

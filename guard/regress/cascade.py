"""What the cascade saves and what it costs: the same rows by the screen alone, the cascade, and the judge alone."""

from typing import NamedTuple

import msgspec

from guard.cache.memory import MemoryCache
from guard.errors import NoJudge
from guard.moderator import Moderator
from guard.policy import Policy
from guard.regress.evaluate import Figures, Report
from guard.telemetry import Event, ModerationDone

__all__ = ["CASCADE", "CascadeReport", "Tally", "Way", "WayFigures", "compared", "ways"]

SCREEN, CASCADE, JUDGE = "screen alone", "cascade", "judge alone"


class Tally:
    """A listener that counts what a judge was asked."""

    def __init__(self) -> None:
        self.questions = 0
        self.tokens = 0

    def on_event(self, event: Event) -> None:
        """Adds a moderation's questions."""
        if isinstance(event, ModerationDone):
            self.questions += event.judged
            self.tokens += event.judge_tokens


class Way(NamedTuple):
    """One way to a verdict, with a count of its own."""

    name: str
    moderator: Moderator
    policy: Policy
    tally: Tally


class WayFigures(msgspec.Struct, frozen=True):
    """One way's figures for harmful or not, and the judge's work: questions, and tokens read for them."""

    way: str
    rows: int
    binary: Figures
    questions: int
    tokens: int


class CascadeReport(msgspec.Struct, frozen=True):
    """The ways side by side on one data set.

    `questions_saved` and `tokens_saved` are shares of what the judge alone needs; `auprc_lost` and `f1_lost` is how
    much lower the cascade's figure is than the judge's (below zero: it is higher).
    """

    dataset: str
    ways: tuple[WayFigures, ...]
    questions_saved: float
    tokens_saved: float
    auprc_lost: float
    f1_lost: float


def ways(moderator: Moderator, policy: Policy) -> tuple[Way, ...]:
    """Screen alone, cascade, judge alone; nothing is cached, so that each way pays for itself.

    Raises:
        NoJudge: the moderator has none.
    """
    if moderator.judge is None:
        raise NoJudge("there is no judge to compare with: set GUARD_JUDGE_URL and GUARD_JUDGE_MODEL (docs/judge.md)")
    found = []
    for name, judge, asking in (
        (SCREEN, None, policy),
        (CASCADE, moderator.judge, policy),
        (JUDGE, moderator.judge, _asking_always(policy)),
    ):
        tally = Tally()
        own = Moderator(
            screen=moderator.screen,
            judge=judge,
            cache=MemoryCache(entries=0, ttl=1),
            secret=b"nothing is kept",
            listener=tally,
        )
        found.append(Way(name, own, asking, tally))
    return tuple(found)


def compared(reports: dict[str, tuple[Report, Tally]]) -> CascadeReport:
    """The report of each way, by its name, put side by side."""
    found = {
        name: WayFigures(name, report.rows, report.binary, tally.questions, tally.tokens)
        for name, (report, tally) in reports.items()
    }
    cascade, judge = found[CASCADE], found[JUDGE]
    return CascadeReport(
        dataset=reports[CASCADE][0].dataset,
        ways=tuple(found.values()),
        questions_saved=_saved(cascade.questions, judge.questions),
        tokens_saved=_saved(cascade.tokens, judge.tokens),
        auprc_lost=judge.binary.auprc.value - cascade.binary.auprc.value,
        f1_lost=judge.binary.f1.value - cascade.binary.f1.value,
    )


def _saved(spent: int, whole: int) -> float:
    return 1.0 - spent / whole if whole else float("nan")


def _asking_always(policy: Policy) -> Policy:
    """The policy with every score in doubt."""
    categories = {
        name: msgspec.structs.replace(category, doubt=(0.0, 1.0)) for name, category in policy.spec.categories.items()
    }
    return Policy(msgspec.structs.replace(policy.spec, categories=categories), policy.calibration)

"""What the cascade saves and what it costs: the same rows by the screen alone, the cascade, and the judge alone."""

from typing import NamedTuple

import msgspec

from guard.cache.memory import MemoryCache
from guard.errors import NoJudge
from guard.judge import Judge
from guard.moderator import Moderator
from guard.policy import Policy
from guard.regress.evaluate import Cost, Figures, Report
from guard.telemetry import Event, ModerationDone

__all__ = ["CASCADE", "CascadeReport", "Tally", "Way", "WayFigures", "as_it_is", "compared", "ways"]

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
    """One way's figures, for harmful or not and per category, and what they cost."""

    way: str
    rows: int
    binary: Figures
    categories: dict[str, Figures]
    cost: Cost


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
        raise NoJudge(
            "there is no judge to compare: set GUARD_JUDGE, or GUARD_JUDGE_URL and GUARD_JUDGE_MODEL (docs/judge.md)"
        )
    return (
        _way(SCREEN, moderator, None, policy),
        as_it_is(moderator, policy),
        _way(JUDGE, moderator, moderator.judge, _asking_always(policy)),
    )


def as_it_is(moderator: Moderator, policy: Policy) -> Way:
    """The moderator's own way to a verdict, with its judge if it has one. Nothing is cached."""
    return _way(CASCADE, moderator, moderator.judge, policy)


def _way(name: str, moderator: Moderator, judge: Judge | None, policy: Policy) -> Way:
    tally = Tally()
    own = Moderator(
        screen=moderator.screen,
        judge=judge,
        cache=MemoryCache(entries=0, ttl=1),
        secret=b"nothing is kept",
        listener=tally,
    )
    return Way(name, own, policy, tally)


def compared(reports: dict[str, Report]) -> CascadeReport:
    """The report of each way, by its name, put side by side.

    Raises:
        ValueError: nobody measured what one of them costs.
    """
    found = {}
    for name, report in reports.items():
        if report.cost is None:
            raise ValueError(f"{report.dataset}: nobody measured what the {name} costs")
        found[name] = WayFigures(name, report.rows, report.binary, report.categories, report.cost)
    cascade, judge = found[CASCADE], found[JUDGE]
    return CascadeReport(
        dataset=reports[CASCADE].dataset,
        ways=tuple(found.values()),
        questions_saved=_saved(cascade.cost.questions, judge.cost.questions),
        tokens_saved=_saved(cascade.cost.tokens, judge.cost.tokens),
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

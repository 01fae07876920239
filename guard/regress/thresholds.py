"""Thresholds for a false-positive rate, with what the number of negatives allows to say of it."""

import math

import msgspec
import numpy as np

from guard import metrics
from guard.metrics import Floats, Interval, Truth

__all__ = ["Chosen", "threshold", "too_few"]

CONFIDENCE = 0.95
DECIMALS = 6
"""Scores have no more."""


class Chosen(msgspec.Struct, frozen=True):
    """The threshold of one category, on the scores that the policy compares with it.

    Attributes:
        threshold: the lowest at which at most the asked share of the negatives is flagged; None with a `reason`.
        false_positives: how many of the `negatives` it flags.
        at_most: the false-positive rate that lies above the true one in 95 of 100 such samples (Clopper and Pearson's
            one-sided bound; exact for a threshold that is chosen among the same negatives by its rank, after Wilks).
        recall: the share of positives that it flags, `[value, low, high]`, with Wilson's 95 % interval.
        surely: the lowest threshold for which `at_most`, too, is as low as asked.
        needed: negatives with which a rate as low as asked can be shown at all.
    """

    threshold: float | None
    negatives: int
    positives: int
    needed: int
    false_positives: int = 0
    at_most: float = 1.0
    recall: Interval = Interval(math.nan, math.nan, math.nan)
    surely: float | None = None
    reason: str = ""


def too_few(rate: float) -> int:
    """The fewest negatives of which none flagged shows, at 95 %, a rate of at most `rate`: about `3 / rate`."""
    return math.ceil(round(math.log(1.0 - CONFIDENCE) / math.log1p(-rate), 9))


def threshold(truth: Truth, scores: Floats, rate: float) -> Chosen:
    """The threshold for a false-positive rate of at most `rate` (between 0 and 1), or the reason why there is none."""
    negatives = np.sort(scores[truth == 0])[::-1]
    positives = scores[truth == 1]
    needed = too_few(rate)
    none = Chosen(threshold=None, negatives=len(negatives), positives=len(positives), needed=needed)
    if len(negatives) < needed:
        shown = metrics.binomial_upper(0, len(negatives), CONFIDENCE)
        return msgspec.structs.replace(
            none,
            at_most=shown,
            reason=f"{len(negatives):,} negatives cannot show {rate:.3g}: with none of them flagged the rate may still "
            f"be {shown:.2g}; {needed:,} are needed",
        )
    found = _above(negatives, scores, math.floor(rate * len(negatives) + 1e-9))
    if found is None:
        return msgspec.structs.replace(
            none, reason=f"more than {rate:.3g} of the negatives share the highest score: no threshold tells them apart"
        )
    flagged = int((negatives >= found).sum())
    sure = math.floor(rate * len(negatives) + 1e-9)
    while sure > 0 and metrics.binomial_upper(sure, len(negatives), CONFIDENCE) > rate:
        sure -= 1
    return msgspec.structs.replace(
        none,
        threshold=found,
        false_positives=flagged,
        at_most=metrics.binomial_upper(flagged, len(negatives), CONFIDENCE),
        recall=metrics.wilson(int((positives >= found).sum()), len(positives)),
        surely=_above(negatives, scores, sure),
    )


def _above(negatives: Floats, scores: Floats, allowed: int) -> float | None:
    """A threshold that flags at most `allowed` of the negatives (highest first) and as much else as can be: between the
    highest score that must not be flagged and the next one, with as few decimals as will do. None where no score is
    above."""
    if allowed >= len(negatives):
        return 0.0
    below = float(negatives[allowed])
    above = scores[scores > below]
    if not len(above):
        return None
    next_one = float(np.min(above))
    for decimals in range(1, DECIMALS):
        found: float = (math.floor(below * 10**decimals) + 1) / 10.0**decimals
        if below < found <= next_one:
            return found
    return next_one

"""How good scores are: precision and recall, areas under curves, calibration error, bootstrap intervals.

Every statistic takes `truth` (0 or 1), `scores` and `weights` (1 where left out), all [rows]; a row of weight 2
counts as two rows, so that a bootstrap is a change of weights. What is undefined (an area with one side empty) is NaN.
Areas follow scikit-learn's definitions, with which the tests compare them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "Interval", "average_precision", "best_f1", "binomial_upper", "bootstrap", "brier", "calibration_error", "f1",
    "recall_at", "roc_auc", "wilson",
]  # fmt: skip

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.int8]
Weights = npt.NDArray[np.int64]
Statistic = Callable[[Truth, Floats, Weights], float]


class Interval(NamedTuple):
    """A figure with the interval that holds the true one in 95 of 100 such samples."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"

    @property
    def brief(self) -> str:
        """The same with two decimals, for tables."""
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


class _Curve(NamedTuple):
    """Counts of true and false positives when everything from a score upwards is flagged, highest score first."""

    true: Floats
    false: Floats

    @property
    def positives(self) -> float:
        return float(self.true[-1])

    @property
    def negatives(self) -> float:
        return float(self.false[-1])


def _once_each(truth: Truth) -> Weights:
    return np.ones(len(truth), dtype=np.int64)


def _curve(truth: Truth, scores: Floats, weights: Weights | None) -> _Curve:
    """One point for each distinct score: rows of one score stand or fall together."""
    weights = _once_each(truth) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    truth, scores, weights = truth[order], scores[order], weights[order]
    ends = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]
    return _Curve(np.cumsum(weights * truth)[ends].astype(float), np.cumsum(weights * (1 - truth))[ends].astype(float))


def average_precision(truth: Truth, scores: Floats, weights: Weights | None = None) -> float:
    """The area under the precision-recall curve, as the mean of precisions weighted by steps of recall (AUPRC)."""
    curve = _curve(truth, scores, weights)
    if not curve.positives:
        return math.nan
    precision = curve.true / np.maximum(curve.true + curve.false, 1e-12)
    return float((np.diff(np.r_[0.0, curve.true]) * precision).sum() / curve.positives)


def roc_auc(truth: Truth, scores: Floats, weights: Weights | None = None) -> float:
    """The chance that a positive row scores higher than a negative one; a tie counts half."""
    curve = _curve(truth, scores, weights)
    if not curve.positives or not curve.negatives:
        return math.nan
    true, false = np.r_[0.0, curve.true], np.r_[0.0, curve.false]
    return float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum() / (curve.positives * curve.negatives))


def best_f1(truth: Truth, scores: Floats, weights: Weights | None = None) -> float:
    """The highest F1 over all thresholds; what a threshold fitted to these very rows would reach."""
    curve = _curve(truth, scores, weights)
    if not curve.positives:
        return math.nan
    return float((2 * curve.true / (curve.true + curve.false + curve.positives)).max())


def recall_at(rate: float) -> Statistic:
    """Recall at the lowest threshold that keeps the false-positive rate at or under `rate`."""

    def statistic(truth: Truth, scores: Floats, weights: Weights | None = None) -> float:
        curve = _curve(truth, scores, weights)
        if not curve.positives or not curve.negatives:
            return math.nan
        allowed = curve.true[curve.false <= rate * curve.negatives]
        return float(allowed[-1] / curve.positives) if len(allowed) else 0.0

    return statistic


def f1(truth: Truth, flagged: Floats, weights: Weights) -> float:
    """F1 of a decision: `flagged` is 0 or 1."""
    hit = float((weights * truth * flagged).sum())
    wrong = float((weights * (truth != flagged)).sum())
    return 2 * hit / (2 * hit + wrong) if truth.any() and hit + wrong else math.nan


def calibration_error(truth: Truth, scores: Floats, weights: Weights | None = None, *, bins: int = 15) -> float:
    """Expected calibration error over `bins` bins of equal width (Naeini and others, 2015)."""
    weights = _once_each(truth) if weights is None else weights
    which = np.minimum((scores * bins).astype(int), bins - 1)
    total = float(weights.sum())
    if not total:
        return math.nan
    scored = np.bincount(which, weights * scores, bins)
    happened = np.bincount(which, weights * truth, bins)
    return float(np.abs(scored - happened).sum() / total)


def brier(truth: Truth, scores: Floats, weights: Weights | None = None) -> float:
    """The mean squared distance of a score from the truth (Brier, 1950); NaN where there is no row."""
    weights = _once_each(truth) if weights is None else weights
    total = float(weights.sum())
    return float((weights * (scores - truth) ** 2).sum() / total) if total else math.nan


def bootstrap(statistic: Statistic, truth: Truth, scores: Floats, *, rounds: int = 500, seed: int = 0) -> Interval:
    """The statistic with its 95 % percentile interval over `rounds` resamples of the rows.

    Positives and negatives are resampled apart, so that no resample lacks a side. The same seed gives the
    same interval. Not for statistics that noise drives one way, such as a calibration error.
    """
    # Sorted once: sorting what is sorted is quick.
    order = np.argsort(-scores, kind="stable")
    truth, scores = truth[order], scores[order]
    value = statistic(truth, scores, _once_each(truth))
    if math.isnan(value):
        return Interval(value, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    sides = [np.flatnonzero(truth == side) for side in (0, 1)]
    found = np.empty(rounds)
    for number in range(rounds):
        weights = np.zeros(len(truth), dtype=np.int64)
        for rows in sides:
            if len(rows):
                weights += np.bincount(rng.choice(rows, len(rows)), minlength=len(truth))
        found[number] = statistic(truth, scores, weights)
    low, high = np.nanquantile(found, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def wilson(hits: int, rows: int) -> Interval:
    """A share with its 95 % interval after Wilson (1927); NaN where there is no row."""
    if not rows:
        return Interval(math.nan, math.nan, math.nan)
    z = 1.959964
    share = hits / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def binomial_upper(hits: int, rows: int, confidence: float = 0.95) -> float:
    """The share that the true one lies at or below with this confidence, after Clopper and Pearson (1934): one-sided
    and exact. Without a hit and with 0.95 it is nearly `3 / rows`; without a row it is 1."""
    if hits >= rows:
        return 1.0
    counts = range(hits + 1)
    ways = np.array([math.lgamma(rows + 1) - math.lgamma(k + 1) - math.lgamma(rows - k + 1) for k in counts])
    number = np.array(counts, dtype=float)
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        likely = np.exp(ways + number * math.log(share) + (rows - number) * math.log1p(-share)).sum()
        low, high = (share, high) if likely > 1.0 - confidence else (low, share)
    return high

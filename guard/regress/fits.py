"""Curves from scores to probabilities, fitted to labelled rows and measured on rows that they have not seen.

Every function takes `truth` (0 or 1) and `scores` (in [0, 1]), both [rows], with rows on both sides. A curve never says
more than its rows can: its ends stay as far from 0 and 1 as Platt's targets do, `1 / (negatives + 2)` and
`1 / (positives + 2)`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from guard.metrics import Floats, Truth
from guard.policy.calibration import EDGE, Temperature

__all__ = ["Points", "Shape", "Way", "applied", "choice", "fit", "held_out", "isotonic", "temperature"]

Way = Literal["temperature", "isotonic"]
Points = tuple[tuple[float, float], ...]
Shape = Temperature | Points | None
"""A curve, or None: the scores as they are."""

STEPS = 100
"""Newton's, of which a handful are needed."""
RIDGE = 1e-9
"""Keeps a step finite where all scores are equal."""
STEEPEST, FARTHEST = 100.0, 100.0
"""What a calibration's file may hold."""


def temperature(truth: Truth, scores: Floats) -> Temperature | None:
    """Scale and offset of the logit by maximum likelihood (Newton's method), with the targets that Platt (1999) gave
    against overconfidence; None where the truth does not rise with the score."""
    low, high = _bounds(truth)
    target = np.where(truth == 1, high, low)
    logit = _logits(scores)
    if np.ptp(logit) == 0.0:
        return None
    rows = np.stack([logit, np.ones(len(logit))], axis=1)
    found = np.array([1.0, 0.0])
    loss = _loss(rows @ found, target)
    for _ in range(STEPS):
        said = _sigmoid(rows @ found)
        slope = rows.T @ (said - target)
        bend = (rows.T * (said * (1.0 - said))) @ rows + RIDGE * np.eye(2)
        step = np.linalg.solve(bend, slope)
        while _loss(rows @ (found - step), target) > loss and np.abs(step).max() > 1e-10:
            step /= 2
        found = found - step
        loss = _loss(rows @ found, target)
        if np.abs(step).max() < 1e-8:
            break
    scale, offset = (float(value) for value in found)
    if not 1e-3 < scale <= STEEPEST or not abs(offset) <= FARTHEST:
        return None
    return Temperature(scale=round(scale, 6), offset=round(offset, 6), low=round(low, 6), high=round(high, 6))


def isotonic(truth: Truth, scores: Floats) -> Points | None:
    """The steps that never fall and lie nearest to the truth (pooling adjacent violators), as the points between which
    the curve is straight; None where that is one level, and the score tells nothing."""
    places, place = np.unique(scores, return_inverse=True)
    rows = np.bincount(place).astype(float)
    low, high = _bounds(truth)
    levels = np.round(np.clip(_pooled(np.bincount(place, weights=truth) / rows, rows), low, high), 6)
    if levels[0] == levels[-1]:
        return None
    # Of a level its two ends are enough.
    ends = np.flatnonzero(np.r_[True, np.diff(levels) > 0] | np.r_[np.diff(levels) > 0, True])
    return tuple([(float(places[i]), float(levels[i])) for i in ends])


def _pooled(values: Floats, weights: Floats) -> Floats:
    """The non-decreasing sequence nearest to `values` in weighted squares (Ayer and others, 1955)."""
    # Whatever does not rise ends up in one block: taken together at once, for the loop is slow.
    starts = np.flatnonzero(np.r_[True, np.diff(values) > 0])
    sums = (np.add.reduceat(values * weights, starts), np.add.reduceat(weights, starts))
    blocks: list[tuple[float, float, int]] = []
    for total, weight, size in zip(*sums, np.diff(np.r_[starts, len(values)]), strict=True):
        block = (float(total), float(weight), int(size))
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    levels = np.array([total / weight for total, weight, _ in blocks])
    return np.asarray(np.repeat(levels, [size for *_, size in blocks]))


_WAYS: Mapping[Way, Callable[[Truth, Floats], Temperature | Points | None]] = {
    "temperature": temperature,
    "isotonic": isotonic,
}


def fit(way: Way, truth: Truth, scores: Floats) -> Shape:
    """The curve of this way; None where there is none to be had."""
    return _WAYS[way](truth, scores)


def applied(shape: Shape, scores: Floats) -> Floats:
    """The scores through a curve: what `guard.policy.calibration.curve` gives, many at a time and not rounded."""
    if shape is None:
        return scores
    if isinstance(shape, Temperature):
        return np.clip(_sigmoid(shape.scale * _logits(scores) + shape.offset), shape.low, shape.high)
    places, levels = np.array(shape).T
    return np.asarray(np.interp(scores, places, levels))


def choice(truth: Truth, scores: Floats, *, folds: int) -> Way | None:
    """The way that comes nearest to the truth on held-out rows; None for the scores as they are.

    The simpler one stays unless the next one's squared error is lower by more than a standard error: a curve that may
    as well be chance is not worth having.
    """
    best: Way | None = None
    lowest = (scores - truth) ** 2
    for way in get_args(Way):
        found = (_seen_by_others(truth, scores, functools.partial(fit, way), folds) - truth) ** 2
        gain = lowest - found
        if gain.mean() > gain.std() / len(gain) ** 0.5:
            best, lowest = way, found
    return best


def held_out(truth: Truth, scores: Floats, way: Way | None, *, folds: int) -> Floats:
    """Every row through a curve that was fitted without it. Where `way` is None each fold chooses anew, among the rows
    that it is fitted on, so that the choice, too, has not seen the rows that it is measured on."""

    def fitted(truth: Truth, scores: Floats) -> Shape:
        chosen = way or choice(truth, scores, folds=folds)
        return fit(chosen, truth, scores) if chosen is not None else None

    return _seen_by_others(truth, scores, fitted, folds)


def _seen_by_others(truth: Truth, scores: Floats, fitted: Callable[[Truth, Floats], Shape], folds: int) -> Floats:
    which = _folds(truth, folds)
    found = np.empty(len(truth))
    for fold in range(folds):
        out = which == fold
        found[out] = applied(fitted(truth[~out], scores[~out]), scores[out])
    return found


def _folds(truth: Truth, folds: int) -> npt.NDArray[np.int64]:
    """A fold for each row, positives and negatives dealt out apart; always the same."""
    rng = np.random.default_rng(0)
    which = np.empty(len(truth), dtype=np.int64)
    for side in (0, 1):
        rows = rng.permutation(np.flatnonzero(truth == side))
        which[rows] = np.arange(len(rows)) % folds
    return which


def _bounds(truth: Truth) -> tuple[float, float]:
    positives = int(truth.sum())
    return 1.0 / (len(truth) - positives + 2), (positives + 1.0) / (positives + 2)


def _logits(scores: Floats) -> Floats:
    inside = np.clip(scores, EDGE, 1.0 - EDGE)
    return np.asarray(np.log(inside / (1.0 - inside)))


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))


def _loss(logits: Floats, target: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - target * logits).sum())

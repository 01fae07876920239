"""What a page draws of scores: counts and points, no texts."""

import msgspec
import numpy as np

from guard.metrics import Floats, Truth

__all__ = ["Curve", "Point", "curve"]

Point = tuple[float, float]
_POINTS = 200
_BINS = 10
_BARS = 20


class Curve(msgspec.Struct, frozen=True):
    """One question over the rows that answer it.

    Attributes:
        precision_recall: points of recall and precision, from the highest score down; at most 200 of them.
        decided: recall and precision of the policy's own decision; null where nothing is flagged.
        reliability: for each tenth of the scores that has rows: their mean score, the share that is positive, rows.
        negatives, positives: rows in each twentieth of the scores.
    """

    precision_recall: tuple[Point, ...]
    decided: Point | None
    reliability: tuple[tuple[float, float, int], ...]
    negatives: tuple[int, ...]
    positives: tuple[int, ...]


def curve(truth: Truth, scores: Floats, flagged: "np.typing.NDArray[np.bool_]") -> Curve:
    """The curve of `truth` (0 or 1), `scores` and decisions, all [rows]; both sides have rows."""
    order = np.argsort(-scores, kind="stable")
    sides, falling = truth[order], scores[order]
    # Rows of one score stand or fall together.
    ends = np.r_[np.flatnonzero(np.diff(falling)), len(falling) - 1]
    hits = np.cumsum(sides)[ends]
    recall, precision = hits / sides.sum(), hits / (ends + 1)
    kept = np.unique(np.linspace(0, len(ends) - 1, _POINTS).round().astype(int))
    right = int(truth[flagged].sum())
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    bars = np.minimum((scores * _BARS).astype(int), _BARS - 1)
    return Curve(
        precision_recall=tuple((float(recall[at]), float(precision[at])) for at in kept),
        decided=(right / int(truth.sum()), right / int(flagged.sum())) if flagged.any() else None,
        reliability=tuple(
            (float(scores[bins == at].mean()), float(truth[bins == at].mean()), int((bins == at).sum()))
            for at in range(_BINS)
            if (bins == at).any()
        ),
        negatives=tuple(int(count) for count in np.bincount(bars[truth == 0], minlength=_BARS)),
        positives=tuple(int(count) for count in np.bincount(bars[truth == 1], minlength=_BARS)),
    )

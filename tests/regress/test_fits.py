"""Curves: by hand, against scikit-learn, and on data whose truth is known."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from guard import metrics
from guard.metrics import Floats, Truth
from guard.policy.calibration import BrierChange, Change, Fit, Temperature, curve
from guard.regress import fits

GRID = np.linspace(0.0, 1.0, 501)

rows_ = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 40).map(lambda n: n / 40)), min_size=6, max_size=80
).filter(lambda rows: len({truth for truth, _ in rows}) == 2)


def as_arrays(rows: list[tuple[int, float]]) -> tuple[Truth, Floats]:
    truth, scores = zip(*rows, strict=True)
    return np.array(truth, dtype=np.int8), np.array(scores)


def a_sample(rows: int, *, scale: float = 2.0, offset: float = 1.0, seed: int = 0) -> tuple[Truth, Floats]:
    """Scores whose logit is `scale` times that of the true chance, and `offset` more."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.5, 2.0, rows)
    logit = np.log(chance / (1 - chance))
    scores = np.clip(np.round(1 / (1 + np.exp(-(scale * logit + offset))), 6), 0, 1)
    return (rng.random(rows) < chance).astype(np.int8), scores


def test_pooling_by_hand() -> None:
    """0.2, 0.4 | 0.5 and 0.6 violate and become 1/2 each, held off from 0 and 1 by 1 / (3 + 2) and 1 / (3 + 2)."""
    truth = np.array([0, 0, 1, 0, 1, 1], dtype=np.int8)
    scores = np.array([0.2, 0.4, 0.5, 0.6, 0.8, 0.9])
    assert fits.isotonic(truth, scores) == ((0.2, 0.2), (0.4, 0.2), (0.5, 0.5), (0.6, 0.5), (0.8, 0.8), (0.9, 0.8))


def test_rows_of_one_score_are_one_point() -> None:
    truth = np.array([1, 0, 0, 1, 1, 1, 1], dtype=np.int8)
    scores = np.array([0.3, 0.3, 0.3, 0.3, 0.7, 0.7, 0.7])
    assert fits.isotonic(truth, scores) == ((0.3, 0.5), (0.7, round(6 / 7, 6)))


@settings(max_examples=300, deadline=None)
@given(rows_)
def test_pooling_is_that_of_scikit_learn(rows: list[tuple[int, float]]) -> None:
    truth, scores = as_arrays(rows)
    found = fits.isotonic(truth, scores)
    low, high = 1 / (len(truth) - truth.sum() + 2), (truth.sum() + 1) / (truth.sum() + 2)
    theirs = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip").fit(scores, truth)
    expected = theirs.predict(GRID)
    if found is None:
        assert np.ptp(expected) < 2e-6
    else:
        assert fits.applied(found, GRID) == pytest.approx(expected, abs=2e-6)


@settings(max_examples=100, deadline=None)
@given(rows_)
def test_every_curve_climbs_and_is_never_certain(rows: list[tuple[int, float]]) -> None:
    """And the file's curve, one score at a time, is the fit's."""
    truth, scores = as_arrays(rows)
    low, high = 1 / (len(truth) - truth.sum() + 2), (truth.sum() + 1) / (truth.sum() + 2)
    for way in ("temperature", "isotonic"):
        shape = fits.fit(way, truth, scores)
        if shape is None:
            continue
        seen = fits.applied(shape, GRID)
        assert (np.diff(seen) >= 0).all()
        assert low - 1e-6 <= seen.min() <= seen.max() <= high + 1e-6
        in_file = Fit(
            rows=len(truth),
            positives=int(truth.sum()),
            ece=Change(before=0.0, after=0.0),
            brier=BrierChange(before=(0.0, 0.0, 0.0), after=(0.0, 0.0, 0.0)),
            temperature=shape if isinstance(shape, Temperature) else None,
            isotonic=None if isinstance(shape, Temperature) else shape,
        )
        assert [curve(in_file)(float(score)) for score in GRID] == pytest.approx(seen, abs=1e-6)


def test_temperature_is_the_likeliest_curve() -> None:
    """scikit-learn's logistic regression on rows repeated for Platt's targets finds the same."""
    truth, scores = a_sample(400)
    found = fits.temperature(truth, scores)
    assert found is not None
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    logit = np.log(inside / (1 - inside))
    target = np.where(truth == 1, (truth.sum() + 1) / (truth.sum() + 2), 1 / (len(truth) - truth.sum() + 2))
    both = np.r_[logit, logit][:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000)
    theirs.fit(both, np.r_[np.ones(400), np.zeros(400)], np.r_[target, 1 - target])
    assert (found.scale, found.offset) == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), abs=1e-4)


def test_a_known_distortion_is_undone() -> None:
    """The scores' logits are twice the true ones and one more: the curve halves them and takes a half away."""
    found = fits.temperature(*a_sample(20_000))
    assert found is not None
    assert (found.scale, found.offset) == pytest.approx((0.5, -0.5), abs=0.05)


@settings(max_examples=25, deadline=None)
@given(st.floats(1.8, 4.0), st.floats(-2.0, 2.0), st.integers(0, 1_000))
def test_held_out_errors_fall_on_distorted_scores(scale: float, offset: float, seed: int) -> None:
    """For both ways and for the choice between them."""
    truth, scores = a_sample(1_500, scale=scale, offset=offset, seed=seed)
    before = (metrics.calibration_error(truth, scores), metrics.brier(truth, scores))
    assume(before[0] > 0.06)
    for way in ("temperature", "isotonic", None):
        seen = fits.held_out(truth, scores, way, folds=5)
        assert metrics.calibration_error(truth, seen) < before[0]
        assert metrics.brier(truth, seen) < before[1]


def test_scores_that_are_right_already_stay() -> None:
    """A curve that may as well be chance is none: over many samples hardly ever one is chosen."""
    chosen = [fits.choice(*a_sample(600, scale=1.0, offset=0.0, seed=seed), folds=5) for seed in range(20)]
    assert chosen.count(None) >= 17


def test_isotonic_is_chosen_where_no_temperature_fits() -> None:
    """The truth jumps in the middle and is level on both sides, with rows enough to see it."""
    rng = np.random.default_rng(3)
    scores = np.round(rng.random(4_000), 6)
    truth = (rng.random(4_000) < np.where(scores < 0.5, 0.3, 0.6)).astype(np.int8)
    assert fits.choice(truth, scores, folds=5) == "isotonic"


def test_a_row_is_never_seen_by_its_own_curve() -> None:
    """Noise stays noise: fitted on all rows steps seem to know something, held out they do not."""
    rng = np.random.default_rng(4)
    scores, truth = np.round(rng.random(400), 6), rng.integers(0, 2, 400).astype(np.int8)
    on_all = fits.applied(fits.isotonic(truth, scores), scores)
    assert metrics.brier(truth, on_all) < 0.25
    assert metrics.brier(truth, fits.held_out(truth, scores, "isotonic", folds=5)) > 0.25


def test_scores_that_fall_where_the_truth_rises_have_no_curve() -> None:
    truth = np.array([1, 1, 1, 0, 0, 0] * 10, dtype=np.int8)
    scores = np.tile([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], 10)
    assert fits.temperature(truth, scores) is None
    assert fits.isotonic(truth, scores) is None
    assert fits.temperature(truth, np.full(60, 0.7)) is None

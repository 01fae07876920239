"""Figures against scikit-learn's, on random scores with ties; weights against repeated rows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from guard import metrics

rows_ = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 12).map(lambda tenth: tenth / 12), st.integers(1, 3)),
    min_size=2,
    max_size=60,
).filter(lambda rows: len({truth for truth, _, _ in rows}) == 2)


def as_arrays(rows: list[tuple[int, float, int]]) -> tuple[metrics.Truth, metrics.Floats, metrics.Weights]:
    truth, scores, weights = zip(*rows, strict=True)
    return np.array(truth, dtype=np.int8), np.array(scores), np.array(weights)


@settings(max_examples=200, deadline=None)
@given(rows_)
def test_areas_are_those_of_scikit_learn_weights_included(rows: list[tuple[int, float, int]]) -> None:
    """Ties and weights are where home-made areas go wrong."""
    truth, scores, weights = as_arrays(rows)
    precision, recall, _ = precision_recall_curve(truth, scores, sample_weight=weights)
    false, true, _ = roc_curve(truth, scores, sample_weight=weights, drop_intermediate=False)
    assert metrics.average_precision(truth, scores, weights) == pytest.approx(
        average_precision_score(truth, scores, sample_weight=weights)
    )
    assert metrics.roc_auc(truth, scores, weights) == pytest.approx(roc_auc_score(truth, scores, sample_weight=weights))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert metrics.best_f1(truth, scores, weights) == pytest.approx(f1.max())
    assert metrics.recall_at(0.2)(truth, scores, weights) == pytest.approx(true[false <= 0.2 + 1e-12].max())


@settings(max_examples=100, deadline=None)
@given(rows_)
def test_a_row_of_weight_two_is_two_rows(rows: list[tuple[int, float, int]]) -> None:
    """The bootstrap stands on this."""
    truth, scores, weights = as_arrays(rows)
    repeated = np.repeat(truth, weights), np.repeat(scores, weights), np.ones(int(weights.sum()), dtype=np.int64)
    flagged = (scores > 0.5).astype(float)
    for statistic in (metrics.average_precision, metrics.roc_auc, metrics.best_f1, metrics.calibration_error):
        assert statistic(truth, scores, weights) == pytest.approx(statistic(*repeated))
    again = (repeated[0], (repeated[1] > 0.5).astype(float), repeated[2])
    assert metrics.f1(truth, flagged, weights) == pytest.approx(metrics.f1(*again), nan_ok=True)


def test_decisions_on_a_case_worked_by_hand() -> None:
    """Two of three positives and one of two negatives flagged."""
    truth = np.array([1, 1, 1, 0, 0], dtype=np.int8)
    flagged = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    ones = np.ones(5, dtype=np.int64)
    assert metrics.f1(truth, flagged, ones) == pytest.approx(f1_score(truth, flagged))


def test_calibration_error_on_a_case_worked_by_hand() -> None:
    """Two bins: |0.9 - 0.5| over half of the rows, |0.1 - 0| over the other half."""
    truth, scores = np.array([1, 0, 0, 0], dtype=np.int8), np.array([0.9, 0.9, 0.1, 0.1])
    assert metrics.calibration_error(truth, scores, np.ones(4, dtype=np.int64)) == pytest.approx(0.25)


def test_one_sided_rows_have_no_area_and_say_so() -> None:
    """NaN, never a made-up 0 or 1."""
    truth, scores, ones = np.zeros(3, dtype=np.int8), np.array([0.1, 0.2, 0.3]), np.ones(3, dtype=np.int64)
    for statistic in (metrics.average_precision, metrics.roc_auc, metrics.best_f1, metrics.recall_at(0.01), metrics.f1):
        assert math.isnan(statistic(truth, scores, ones))
        assert math.isnan(metrics.bootstrap(statistic, truth, scores).low)
    assert str(metrics.bootstrap(metrics.roc_auc, truth, scores)) == "–"
    assert math.isnan(metrics.wilson(0, 0).value)


def test_a_bootstrap_interval_holds_the_true_figure_about_as_often_as_it_says() -> None:
    """Eighty samples from a world whose AUC is known: the interval misses it in few of them."""
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], 60).astype(np.int8)
    true_auc = 0.5 * math.erfc(-1 / 2)  # two unit normals a distance of 1 apart: Phi(1 / sqrt 2)
    inside = 0
    for _ in range(80):
        scores = rng.normal(0, 1, 120) + truth
        found = metrics.bootstrap(metrics.roc_auc, truth, scores, rounds=200)
        assert found.low <= found.value <= found.high
        inside += found.low <= true_auc <= found.high
    assert inside >= 70
    assert metrics.bootstrap(metrics.roc_auc, truth, scores) == metrics.bootstrap(metrics.roc_auc, truth, scores)


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)]
)
def test_wilson_gives_the_published_values(hits: int, rows: int, low: float, high: float) -> None:
    """Also at the ends, where the simple interval has no width."""
    found = metrics.wilson(hits, rows)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(rows_)
def test_brier_scores_are_those_of_scikit_learn(rows: list[tuple[int, float, int]]) -> None:
    """Weights included; without a row there is none."""
    truth, scores, weights = as_arrays(rows)
    assert metrics.brier(truth, scores, weights) == pytest.approx(
        brier_score_loss(truth, scores, sample_weight=weights)
    )
    assert math.isnan(metrics.brier(truth[:0], scores[:0]))


@pytest.mark.parametrize(("hits", "rows"), [(0, 1), (0, 300), (1, 10), (9, 1_000), (500, 100_000), (10, 11)])
def test_the_upper_bound_of_a_share_is_exact(hits: int, rows: int) -> None:
    """Clopper and Pearson's, which is a quantile of a beta distribution."""
    assert metrics.binomial_upper(hits, rows) == pytest.approx(beta.ppf(0.95, hits + 1, rows - hits), rel=1e-9)
    assert metrics.binomial_upper(rows, rows) == metrics.binomial_upper(0, 0) == 1.0

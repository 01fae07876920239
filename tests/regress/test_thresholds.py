"""Thresholds for a false-positive rate: by hand, and what few negatives do not show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard import metrics
from guard.regress.thresholds import threshold, too_few


def chosen(negatives: list[float], positives: list[float], rate: float):
    truth = np.array([0] * len(negatives) + [1] * len(positives), dtype=np.int8)
    return threshold(truth, np.array([*negatives, *positives]), rate)


def test_a_threshold_by_hand() -> None:
    """Of 100 negatives at 0.00 to 0.99 ten may be flagged: those from 0.90 on. At 95 % that is at most 16.4 %; surely
    at most 10 % with four: from 0.96 on."""
    found = chosen([n / 100 for n in range(100)], [0.5, 0.9, 0.97, 1.0], 0.1)
    assert (found.threshold, found.false_positives, found.negatives) == (0.9, 10, 100)
    assert found.at_most == pytest.approx(0.1637, abs=1e-4)
    assert found.recall.value == 0.75
    assert found.surely == 0.96


def test_the_threshold_has_as_few_decimals_as_will_do() -> None:
    """Between the highest score that must stay and the next one."""
    assert chosen([0.1] * 40, [0.9], 0.1).threshold == 0.2
    assert chosen([0.1234] * 40, [0.1261], 0.1).threshold == 0.124
    assert chosen([0.123456] * 40, [0.123457], 0.1).threshold == 0.123457


def test_rows_of_one_score_are_flagged_together() -> None:
    """Four of 40 may be, five share the score: none is."""
    found = chosen([0.8] * 5 + [0.1] * 35, [0.9, 0.8], 0.1)
    assert (found.threshold, found.false_positives, found.recall.value) == (0.9, 0, 0.5)


def test_negatives_at_the_top_leave_no_threshold() -> None:
    found = chosen([0.9] * 5 + [0.1] * 35, [0.9], 0.1)
    assert found.threshold is None
    assert "share the highest score" in found.reason


@pytest.mark.parametrize(("rate", "needed"), [(0.1, 29), (0.05, 59), (0.01, 299), (0.001, 2_995)])
def test_the_rule_of_three(rate: float, needed: int) -> None:
    """With one negative fewer, none flagged shows nothing; with that many it does."""
    assert too_few(rate) == needed
    short, enough = chosen([0.1] * (needed - 1), [0.9], rate), chosen([0.1] * needed, [0.9], rate)
    assert short.threshold is None
    assert short.needed == needed
    assert f"{needed:,} are needed" in short.reason
    assert enough.threshold is not None
    assert enough.at_most <= rate


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 60).map(lambda n: n / 60), min_size=59, max_size=200),
    st.lists(st.integers(0, 60).map(lambda n: n / 60), max_size=50),
    st.floats(0.05, 0.5),
)
def test_no_lower_threshold_would_do(negatives: list[float], positives: list[float], rate: float) -> None:
    """The asked rate is kept, the sure threshold keeps it at its bound, and one score lower breaks it."""
    found = chosen(negatives, positives, rate)
    scores, harmless = np.array([*negatives, *positives]), np.array(negatives)
    if found.threshold is None:
        assert (harmless >= scores.max()).mean() > rate
        return
    assert (harmless >= found.threshold).mean() <= rate + 1e-9
    lower = scores[scores < found.threshold]
    if len(lower):
        assert (harmless >= lower.max()).mean() > rate
    if found.surely is not None:
        assert found.surely >= found.threshold
        assert metrics.binomial_upper(int((harmless >= found.surely).sum()), len(harmless)) <= rate


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Thresholds picked on 200 negatives: the true rate is above the bound in about 5 of 100 samples."""
    rng = np.random.default_rng(0)
    above = 0
    for _ in range(1_000):
        negatives = rng.random(200)
        truth, scores = np.array([0] * 200 + [1], dtype=np.int8), np.r_[negatives, 1.0]
        found = threshold(truth, scores, 0.05)
        assert found.threshold is not None
        # Just above a negative's score, where the bound is exact.
        exact = np.sort(negatives)[::-1][10]
        above += 1 - exact > found.at_most
    assert 30 <= above <= 70

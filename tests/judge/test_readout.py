"""From log-probabilities to answers, and how far they may be off."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import JudgeFailed
from guard.judge.readout import exact, of_the_top
from guard.question import Answer

weights = st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=40)


@given(weights, st.integers(1, 5))
def test_exact_answers_are_the_labels_share(raw, labels):
    """They add up to one; the mass is what the labels have together."""
    values = [value / sum(raw) for value in raw]
    own = values[: min(labels, len(values))]
    answer = exact([math.log(value) for value in own])
    assert sum(answer.probabilities) == pytest.approx(1)
    assert answer.mass == pytest.approx(sum(own))
    for probability, value in zip(answer.probabilities, own, strict=True):
        assert probability == pytest.approx(value / sum(own))


@given(weights, st.integers(2, 4), st.integers(1, 20))
def test_the_truth_lies_within_the_stated_error(raw, labels, top):
    """For any distribution, any labels, and any number of tokens told."""
    values = [value / sum(raw) for value in raw]
    own = values[:labels]
    told = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:top]
    if not any(n < labels for n in told):
        return
    answer = of_the_top(
        [math.log(value) if n in told else None for n, value in enumerate(own)],
        [math.log(values[n]) for n in told if n >= labels],
    )
    for probability, value in zip(answer.probabilities, own, strict=True):
        assert abs(probability - value / sum(own)) <= answer.error + 1e-9


def test_labels_far_down_the_vocabulary_still_compare():
    """A mass too small for a float is no reason to divide by zero."""
    answer = exact([-900.0, -901.0])
    assert answer.probabilities[0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert answer.mass == 0.0


@pytest.mark.parametrize("bad", [[math.nan, -1.0], [0.5, -1.0], [-math.inf, -math.inf]])
def test_what_is_no_log_probability_is_refused(bad):
    """A broken server must not become a verdict."""
    with pytest.raises(JudgeFailed):
        exact(bad)


def test_no_label_among_the_told_is_no_answer():
    """It is not taken for a no."""
    with pytest.raises(JudgeFailed, match="GUARD_JUDGE_TEMPLATE"):
        of_the_top([None, None], [-0.1])


def test_confidence_and_expected_level():
    """The best option among all that could be said; the mean level of a scale."""
    answer = Answer((0.5, 0.25, 0.25), mass=0.8)
    assert (answer.best, answer.confidence, answer.expected) == (0, 0.4, 0.75)

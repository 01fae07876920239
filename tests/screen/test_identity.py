"""To name people is not to hate them: the shipped encoder on neutral sentences about protected traits."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from guard.policy import load_policies
from guard.policy.schema import Thresholds
from guard.screen.encoder import Encoder
from guard.service import pattern_names
from training.identity import TEMPLATES, TERMS, Score, Template, Term, filled, hate_of

POLICIES = Path(__file__).parents[2] / "policies"
BARE = (
    Template("bare", "user", "I am {is}."),
    Template("bare", "comment", "My neighbour is {is}."),
    Template("bare", "comment", "{Group} live here."),
    Template("bare", "", "A {adj} person."),
)


@pytest.fixture(scope="module")
def score() -> Score:
    """The probability of hate, as the package's encoder gives it."""
    return hate_of(Encoder.shipped())


@pytest.fixture(scope="module")
def hate() -> Thresholds:
    """What the default policy does about hate."""
    return load_policies(POLICIES, pattern_names())["default"].spec.categories["hate"].thresholds


def flagged(score: Score, threshold: float, pairs: Iterable[tuple[Template, Term]]) -> str:
    """A line for each pair that the policy would flag, the worst first: score, role, text."""
    read = [(template.role, filled(template, term)) for template, term in pairs]
    scored = sorted(((score(text, role), role, text) for role, text in read), reverse=True)
    return "\n".join(f"{found:.3f} {role}: {text}" for found, role, text in scored if found >= threshold)


def test_no_neutral_sentence_about_people_is_flagged_as_hate(score: Score, hate: Thresholds) -> None:
    """Each template once, each identity several times: the pairs move on by one, so they stay the same. The card has
    the rate of every identity over all templates."""
    pairs = [(template, TERMS[number % len(TERMS)]) for number, template in enumerate(TEMPLATES)]
    found = flagged(score, hate.flag or 1.0, pairs)
    assert not found, found


def test_no_identity_is_flagged_as_hate_by_itself(score: Score, hate: Thresholds) -> None:
    """Said about oneself, about a neighbour, about many: the word alone is no attack."""
    found = flagged(score, hate.flag or 1.0, [(template, term) for template in BARE for term in TERMS])
    assert not found, found

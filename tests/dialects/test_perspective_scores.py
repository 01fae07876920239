"""Perspective's scores from our verdicts: pure, at the level of structs."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.dialects.perspective import (
    ATTRIBUTES,
    LANGUAGES,
    STANDS_FOR,
    attribute_named,
    attribute_scores,
    reads,
    served,
    severe,
)
from guard.dialects.taxonomy import NEAR
from guard.policy import Policy
from guard.policy.loader import load_policies
from guard.service import pattern_names
from guard.verdict import CategoryVerdict, Span, Verdict

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policies(ROOT / "policies" / "default", pattern_names())["default"]


def a_verdict(**scores: float | CategoryVerdict) -> Verdict:
    """With these scores, by the encoder; everything else scores nothing."""
    every = {"hate": 0.0, "harassment": 0.0, "violence": 0.0, "sexual": 0.0, "sexual_minors": 0.0} | scores
    categories = {
        name: CategoryVerdict(found, 0.5, False, "allow", "encoder") if isinstance(found, float) else found
        for name, found in every.items()
    }
    return Verdict(action="allow", flagged=False, categories=categories)


def scored(policy: Policy, attribute: str, verdict: Verdict, comment: str = "x", **more):
    return attribute_scores(attribute, policy, verdict, served(policy, verdict)[attribute], comment=comment, **more)


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        *[(name, name) for name in ATTRIBUTES],
        *[(f"{name}_EXPERIMENTAL", name) for name in ATTRIBUTES[:6]],
        ("TOXICITY@6", "TOXICITY"),
        ("TOXICITY_EXPERIMENTAL@2", "TOXICITY"),
        ("FLIRTATION_EXPERIMENTAL", None),
        ("TOXICITY_FAST", None),
        ("toxicity", None),
        ("TOXICITY@", None),
        ("TOXICITY@٣", None),
        ("TOXICITY\n", None),
        ("", None),
        ("SPAM", None),
    ],
)
def test_a_name_means_an_attribute(name: str, attribute: str | None):
    """Also by the names of Perspective's older and other models, where it had them."""
    assert attribute_named(name) == attribute


def test_every_attribute_has_a_category_behind_it(policy: Policy):
    """The shipped policy tells all eight; what comes only near says so."""
    assert set(served(policy, a_verdict())) == set(ATTRIBUTES)
    assert set(NEAR["perspective"]) >= {"SEVERE_TOXICITY", *STANDS_FOR}


def test_an_attribute_is_the_highest_of_its_categories(policy: Policy):
    """And of no other."""
    verdict = a_verdict(violence=0.7, harassment=0.3, hate=0.1, sexual=0.2)
    values = {name: scored(policy, name, verdict).summary_score.value for name in ATTRIBUTES}
    assert values == {
        "TOXICITY": 0.7,
        "SEVERE_TOXICITY": round(severe(0.7), 6),
        "IDENTITY_ATTACK": 0.1,
        "INSULT": 0.3,
        "PROFANITY": 0.3,
        "THREAT": 0.7,
        "SEXUALLY_EXPLICIT": 0.2,
        "FLIRTATION": 0.2,
    }


def test_what_nobody_scored_is_not_told(policy: Policy):
    """Neither as 0: a category without a score, one that the verdict has not."""
    none = CategoryVerdict(0.0, 0.5, False, "allow", "none")
    verdict = a_verdict(hate=none, sexual=none, sexual_minors=none)
    told = served(policy, verdict)
    assert "IDENTITY_ATTACK" not in told
    assert "FLIRTATION" not in told
    assert "hate" not in told["TOXICITY"]
    assert served(policy, msgspec.structs.replace(verdict, categories={})) == {}


def test_severe_toxicity_has_fewer_mild_texts():
    """The same at both ends, less in between, and in the same order."""
    steps = [severe(n / 1_000) for n in range(1_001)]
    assert (steps[0], steps[-1]) == (0.0, 1.0)
    assert all(low < high for low, high in pairwise(steps))
    assert all(severe(n / 1_000) < n / 1_000 for n in range(1, 1_000))
    assert severe(0.8) < 0.5


def test_a_policys_own_severe_category_keeps_its_score(policy: Policy):
    """The curve is for what goes by TOXICITY too."""
    spec = policy.spec
    maps = msgspec.structs.replace(spec.categories["violence"].maps, perspective=("SEVERE_TOXICITY",))
    own = msgspec.structs.replace(spec.categories["violence"], maps=maps)
    other = type(policy)(msgspec.structs.replace(spec, categories=spec.categories | {"violence": own}))
    assert scored(other, "SEVERE_TOXICITY", a_verdict(violence=0.7)).summary_score.value == 0.7


def test_spans_are_counted_in_utf_16(policy: Policy):
    """A letter beyond the first plane counts twice; the same place twice has its higher score."""
    spans = (Span(2, 4, 0.6), Span(0, 1, 0.4))
    verdict = a_verdict(
        violence=CategoryVerdict(0.7, 0.5, True, "flag", "encoder", spans),
        hate=CategoryVerdict(0.2, 0.5, False, "allow", "encoder", (Span(2, 4, 0.1),)),
    )
    found = scored(policy, "TOXICITY", verdict, "a😀b😀c", spans=True).span_scores
    assert [(span.begin, span.end, span.score.value) for span in found] == [(0, 1, 0.4), (3, 6, 0.6)]
    (whole,) = scored(policy, "TOXICITY", verdict, "a😀b😀c").span_scores
    assert (whole.begin, whole.end, whole.score.value) == (0, 7, 0.7)


def test_scores_below_the_threshold_are_left_out(policy: Policy):
    """Those of the spans too; at the threshold they stay."""
    verdict = a_verdict(violence=CategoryVerdict(0.7, 0.5, True, "flag", "encoder", (Span(0, 1, 0.6), Span(1, 2, 0.7))))
    found = scored(policy, "THREAT", verdict, "ab", spans=True, threshold=0.7)
    assert [span.begin for span in found.span_scores] == [1]
    assert found.summary_score.value == 0.7
    left = scored(policy, "THREAT", verdict, "ab", spans=True, threshold=0.71)
    assert (left.span_scores, left.summary_score) == ((), None)
    assert msgspec.json.encode(left) == b"{}"


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.integers(0, 4), st.floats(0, 1))
def test_a_higher_score_lowers_no_attribute(policy: Policy, scores: list[float], which: int, higher: float):
    """Of any category, for any attribute."""
    names = ["hate", "harassment", "violence", "sexual", "sexual_minors"]
    before = a_verdict(**dict(zip(names, scores, strict=True)))
    scores[which] = max(scores[which], higher)
    after = a_verdict(**dict(zip(names, scores, strict=True)))
    for name in ATTRIBUTES:
        first, second = scored(policy, name, before).summary_score, scored(policy, name, after).summary_score
        assert first.value <= second.value


def test_the_languages_are_the_encoders():
    """Those that the shipped encoder names, in any of their forms."""
    card = msgspec.json.decode((ROOT / "guard/screen/model/model.json").read_bytes())
    assert tuple(card["languages"]) == LANGUAGES
    assert [reads(language) for language in ("en", "en-US", "EN", "en_GB", "de", "", "eng", "und")] == [
        True, True, True, True, False, False, False, False,
    ]  # fmt: skip

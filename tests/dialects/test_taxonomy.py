"""Our categories under other taxonomies' names."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.chat.report import moderated
from guard.content import Rail
from guard.dialects.mistral import FIRST_CATEGORIES, SECOND_CATEGORIES, is_mistrals, mistral_result
from guard.dialects.openai import CATEGORIES, openai_result
from guard.dialects.taxonomy import (
    NEAR,
    TOGETHER,
    Taxonomy,
    exactly,
    flagged,
    hardest,
    named,
    parts_of,
    under,
    unfounded,
)
from guard.policy import Policy, PolicySpec
from guard.policy.decide import decide
from guard.policy.loader import load_policies
from guard.policy.schema import Maps
from guard.policy.validate import PatternNames
from guard.screen.patterns import CATALOGUE, check_regex
from guard.testing import a_policy
from guard.text import normalise
from guard.verdict import Action, Assessment, CategoryVerdict, Score, Verdict
from tests.conftest import ROOT

DEFAULT = load_policies(ROOT / "policies", PatternNames(frozenset(CATALOGUE), check_regex))["default"]


def a_verdict(policy: Policy, scores: Mapping[str, float], *, failures: tuple[str, ...] = ()) -> Verdict:
    """What `policy` does about a text with these scores; those that are missing are 0."""
    found = {name: Score(scores.get(name, 0.0), "encoder") for name in policy.categories}
    return decide(policy, Assessment(found, failures=failures), normalise("a text"), rail=Rail.INPUT)


def a_category(maps: Mapping[str, list[str]], **thresholds: float) -> dict[str, Any]:
    """A category of a policy, as YAML would have it."""
    return {
        "title": "One",
        "definition": "The text is one of those that tests talk about.",
        "group": "tests",
        "thresholds": thresholds or {"flag": 0.5, "review": 0.7, "block": 0.9},
        "maps": maps,
    }


def policy_of(**categories: dict[str, Any]) -> Policy:
    """A policy with these categories."""
    spec = {"version": 1, "name": "test", "description": "For tests.", "categories": categories}
    return Policy(msgspec.convert(spec, PolicySpec))


def mapped(**maps: Mapping[str, list[str]]) -> Policy:
    """A policy whose categories are these, with their `maps`; all flag from 0.5 on, review from 0.7, block from 0.9."""
    return policy_of(**{name: a_category(names) for name, names in maps.items()})


def openai_of(policy: Policy, **scores: float) -> dict[str, CategoryVerdict]:
    """OpenAI's categories of a text with these scores."""
    return exactly(policy, "openai", CATEGORIES, a_verdict(policy, scores))


HATE = {"openai": ["hate", "hate/threatening"]}
VIOLENCE = {"openai": ["violence", "violence/graphic"]}


class TestTogether:
    """Foreign categories that hold only where others hold."""

    @pytest.mark.parametrize(
        ("hate", "violence", "action", "score"),
        [
            (0.95, 0.1, "allow", 0.1),
            (0.1, 0.95, "allow", 0.1),
            (0.95, 0.75, "review", 0.75),
            (0.55, 0.95, "flag", 0.55),
            (0.95, 0.92, "block", 0.92),
        ],
    )
    def test_hate_that_threatens_is_the_mildest_of_hate_and_violence(self, hate, violence, action, score):
        """Neither is a threat without the other."""
        found = openai_of(mapped(hate=HATE, violence=VIOLENCE), hate=hate, violence=violence)["hate/threatening"]
        assert (found.action, found.score, found.violated) == (action, score, action != "allow")

    def test_the_harder_action_does_not_win_by_a_lower_score(self):
        """Actions start at different scores: the milder action counts, and the lower score, of whichever."""
        policy = policy_of(hate=a_category(HATE, flag=0.9), violence=a_category(VIOLENCE, block=0.2))
        found = openai_of(policy, hate=0.6, violence=0.3)["hate/threatening"]
        assert (found.action, found.score) == ("allow", 0.3)

    def test_violence_is_the_hardest_of_all_that_go_by_it(self):
        """Not of one category alone."""
        policy = mapped(hate=HATE, violence=VIOLENCE, arms={"openai": ["violence"]})
        assert openai_of(policy, hate=0.95, violence=0.1, arms=0.8)["hate/threatening"].score == 0.8

    def test_a_policy_without_the_other_cannot_say_it(self):
        """What nobody looks for is not found."""
        found = openai_of(mapped(hate=HATE), hate=0.95)
        assert found["hate"].action == "block"
        assert (found["hate/threatening"].score, found["hate/threatening"].violated) == (0.0, False)

    def test_a_category_that_was_made_for_it_stands_for_itself(self):
        """It goes by the narrow name alone; the broad one beside it is still the mildest of two."""
        threats = {"openai": ["hate/threatening"]}
        assert openai_of(mapped(threats=threats), threats=0.95)["hate/threatening"].action == "block"
        policy = mapped(hate=HATE, violence=VIOLENCE, threats=threats)
        assert openai_of(policy, threats=0.8, hate=0.95, violence=0.1)["hate/threatening"].score == 0.8
        assert openai_of(policy, threats=0.1, hate=0.95, violence=0.8)["hate/threatening"].score == 0.8

    def test_other_taxonomies_have_none(self):
        """Mistral's categories are plain ones."""
        assert "mistral" not in TOGETHER
        assert {name for names in TOGETHER["openai"].values() for name in names} <= set(CATEGORIES)
        assert TOGETHER["openai"].keys() | NEAR["openai"].keys() <= set(CATEGORIES)


def test_every_taxonomy_is_a_field_of_maps():
    """Else a name could not be looked up."""
    assert set(get_args(Taxonomy)) == {field.name for field in msgspec.structs.fields(Maps)}


def test_the_default_policy_reaches_every_name():
    """Of OpenAI's thirteen and of both of Mistral's models, and goes by no name that they do not have."""
    assert parts_of(DEFAULT, "openai").keys() == set(CATEGORIES)
    assert parts_of(DEFAULT, "mistral").keys() == {*FIRST_CATEGORIES, *SECOND_CATEGORIES}
    assert parts_of(DEFAULT, "openai")["illicit"] == ("criminal", "dangerous")


def test_a_name_has_the_hardest_action_and_the_highest_score_of_its_parts():
    """Which may be of two categories, whose thresholds differ: 0.78 of one is flagged, 0.75 of the other reviewed."""
    found = named(DEFAULT, "mistral", a_verdict(DEFAULT, {"hate": 0.78, "harassment": 0.75}).categories)
    assert (found["hate_and_discrimination"].action, found["hate_and_discrimination"].score) == ("review", 0.78)
    found = openai_of(DEFAULT, criminal=0.1, dangerous=0.9)
    assert found["illicit"].action == found["illicit/violent"].action == "block"
    assert openai_of(DEFAULT, criminal=0.9)["illicit/violent"].violated is False


def test_a_category_of_ones_own_goes_by_the_names_that_it_is_given():
    """In each taxonomy by its own, and the standard category keeps counting."""
    policy = mapped(harassment={"openai": ["harassment"]}, taunts={"openai": ["harassment"], "mistral": ["pii"]})
    verdict = a_verdict(policy, {"harassment": 0.6, "taunts": 0.95})
    assert named(policy, "openai", verdict.categories)["harassment"].action == "block"
    assert named(policy, "mistral", verdict.categories).keys() == {"pii"}
    assert mistral_result(policy, verdict, None).category_scores["pii"] == 0.95


def test_what_a_policy_does_not_look_for_is_zero():
    """All names are there, in their order; a policy without maps has none."""
    found = openai_of(a_policy(("weather",)), weather=0.99)
    assert list(found) == list(CATEGORIES)
    assert {(c.score, c.violated, c.source) for c in found.values()} == {(0.0, False, "none")}


def test_what_has_no_name_keeps_its_own():
    """Where it happens to be a name there, the harder counts: a milder one does not hide it."""
    policy = mapped(weather={}, hate={}, slurs={"openai": ["hate"]})
    for hate, slurs in ((0.1, 0.95), (0.95, 0.1)):
        found = under(policy, "openai", a_verdict(policy, {"hate": hate, "slurs": slurs}).categories)
        assert found.keys() == {"weather", "hate"}
        assert found["hate"].score == 0.95


def test_mistrals_answer_has_what_mistral_has_no_name_for():
    """It has nothing else that a client could refuse a text by. What the older model has no word for is not lost."""
    policy = mapped(weather={}, jailbreak={"mistral": ["jailbreaking"]})
    verdict = a_verdict(policy, {"weather": 0.95, "jailbreak": 0.95})
    for model, names in (
        ("mistral-moderation-2411", [*FIRST_CATEGORIES, "weather", "jailbreak"]),
        ("mistral-moderation-2603", [*SECOND_CATEGORIES, "weather"]),
    ):
        result = mistral_result(policy, verdict, model)
        assert list(result.categories) == list(result.category_scores) == names
        assert result.categories["weather"] is True
        assert result.categories[names[-1]] is True
    assert list(mistral_result(DEFAULT, a_verdict(DEFAULT, {}), None).categories) == list(SECOND_CATEGORIES)


def test_mistrals_models_are_told_by_name():
    """Every other name is OpenAI's, or a policy's."""
    assert [is_mistrals(m) for m in ("mistral-moderation-latest", "mistral-moderation-2411")] == [True, True]
    assert [is_mistrals(m) for m in (None, "omni-moderation-latest", "mistral-small", "strict")] == [False] * 4


class TestFlagged:
    """The one word for everything."""

    def test_a_category_of_the_dialect_flags(self):
        """From the mildest action on."""
        verdict = a_verdict(DEFAULT, {"violence": 0.3})
        assert verdict.action == "flag"
        assert openai_result(DEFAULT, verdict).flagged is True

    def test_what_the_dialect_lacks_flags_where_it_has_to_be_stopped(self):
        """A note or a redaction in it does not."""
        for scores, action, wanted in (
            ({"jailbreak": 0.95}, "block", True),
            ({"jailbreak": 0.75}, "review", True),
            ({"jailbreak": 0.6}, "flag", False),
            ({"pii": 0.9}, "redact", False),
            ({"financial_advice": 0.9}, "flag", False),
            ({}, "allow", False),
        ):
            verdict = a_verdict(DEFAULT, scores)
            assert verdict.action == action
            result = openai_result(DEFAULT, verdict)
            assert (result.flagged, any(result.categories.values())) == (wanted, False)
            assert flagged(verdict, ()) is wanted

    def test_a_failed_stage_flags_where_the_policy_says_so(self):
        """No category does."""
        for word, wanted in (("block", True), ("review", True), ("allow", False)):
            verdict = a_verdict(a_policy(when_screen_fails=word), {}, failures=("screen",))
            assert (unfounded(verdict), flagged(verdict, verdict.categories.values())) == (wanted, wanted)
            assert verdict.degraded

    def test_a_part_that_is_refused_flags(self):
        """Though nothing was found."""
        assert openai_result(DEFAULT, a_verdict(DEFAULT, {}), refused=True).flagged is True

    def test_a_block_that_was_found_is_not_unfounded(self):
        """It has a category that says it."""
        assert unfounded(a_verdict(DEFAULT, {"violence": 0.95})) is False


OWN = list(DEFAULT.categories)
SCORES = st.dictionaries(st.sampled_from(OWN), st.floats(0, 1), max_size=8)


def most(several: Iterable[CategoryVerdict]) -> tuple[Action, float]:
    """The hardest action and the highest score, each by itself."""
    found = list(several)
    return max(Action.of(one.action) for one in found), max(one.score for one in found)


@given(SCORES, st.sampled_from(OWN), st.floats(0, 1))
def test_raising_a_score_lowers_nothing(scores, name, more):
    """No foreign score, action or flag, in any taxonomy."""
    higher = scores | {name: max(scores.get(name, 0.0), more)}
    before, after = a_verdict(DEFAULT, scores), a_verdict(DEFAULT, higher)
    for taxonomy in get_args(Taxonomy):
        was = under(DEFAULT, taxonomy, before.categories)
        now = under(DEFAULT, taxonomy, after.categories)
        assert was.keys() == now.keys()
        for key, found in was.items():
            assert now[key].score >= found.score
            assert Action.of(now[key].action) >= Action.of(found.action)
            assert now[key].violated >= found.violated
    assert openai_result(DEFAULT, after).flagged >= openai_result(DEFAULT, before).flagged


@given(SCORES)
def test_a_foreign_category_is_never_above_its_parts(scores):
    """Neither its score nor its action: some category of the policy has them, at the least."""
    verdict = a_verdict(DEFAULT, scores)
    for taxonomy in get_args(Taxonomy):
        parts = parts_of(DEFAULT, taxonomy)
        for name, found in named(DEFAULT, taxonomy, verdict.categories).items():
            own = [verdict.categories[part] for part in parts[name]]
            assert found.score <= max(part.score for part in own)
            assert Action.of(found.action) <= max(Action.of(part.action) for part in own)
            for other in TOGETHER.get(taxonomy, {}).get(name, ()):
                beside = named(DEFAULT, taxonomy, verdict.categories)[other]
                assert found.score <= beside.score
                assert Action.of(found.action) <= Action.of(beside.action)


@given(SCORES)
def test_a_violated_category_that_has_a_name_is_seen(scores):
    """What has a plain name is violated there too; so nothing that the policy stops is passed over."""
    verdict = a_verdict(DEFAULT, scores)
    for taxonomy in get_args(Taxonomy):
        found = named(DEFAULT, taxonomy, verdict.categories)
        for name, parts in parts_of(DEFAULT, taxonomy).items():
            if name not in TOGETHER.get(taxonomy, {}):
                assert most([found[name]]) == most(verdict.categories[part] for part in parts)
    assert openai_result(DEFAULT, verdict).flagged or verdict.action in ("allow", "flag", "redact")


@given(st.lists(SCORES, min_size=1, max_size=4))
def test_of_several_texts_the_hardest_counts(several):
    """Category by category."""
    verdicts = [a_verdict(DEFAULT, scores) for scores in several]
    for name, found in hardest(verdicts).items():
        assert most([found]) == most(verdict.categories[name] for verdict in verdicts)


@given(st.lists(SCORES, min_size=1, max_size=3))
def test_the_chats_moderation_agrees_with_the_route(several):
    """On the same verdicts: the thirteen names, and the one word wherever no category of ours alone holds."""
    verdicts = [a_verdict(DEFAULT, scores) for scores in several]
    told = moderated(DEFAULT, "omni", verdicts[:1], [[verdict] for verdict in verdicts])
    for verdict, inline in zip(
        [verdicts[0], *verdicts], told["input"]["results"] + told["output"]["results"], strict=True
    ):
        route = openai_result(DEFAULT, verdict)
        assert {name: inline["categories"][name] for name in CATEGORIES} == route.categories
        assert {name: inline["category_scores"][name] for name in CATEGORIES} == route.category_scores
        own = [held for name, held in inline["categories"].items() if name not in CATEGORIES]
        assert inline["flagged"] == (route.flagged or any(own))

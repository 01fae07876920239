"""Categories of a policy's own: by example where there is no judge."""

import numpy as np
import pytest

from guard.cache.memory import MemoryCache
from guard.content import Content
from guard.moderator import Moderator
from guard.screen.encoder import Encoder
from guard.screen.examples import Nearest, ordinary
from guard.screen.standard import StandardScreen
from guard.testing import Recorder, ScriptedJudge, a_policy

GARDEN = {
    "examples": {
        "violates": [
            "When should I plant tomatoes?",
            "How deep do tulip bulbs go into the ground?",
            "My roses have black spots on their leaves.",
            "Which vegetables grow in the shade?",
        ],
        "allowed": ["Which vegetables go into a soup?", "Buy roses for my wife."],
    }
}


def a_moderator(judge=None) -> Moderator:
    screen = StandardScreen(Encoder.shipped(), threads=1, max_waiting=100)
    return Moderator(
        screen=screen, judge=judge, cache=MemoryCache(entries=0, ttl=1), secret=b"x" * 16, listener=Recorder()
    )


async def test_a_text_like_the_examples_is_found_and_says_so():
    """Without a judge the category is scored by its examples, and the verdict names them as the source."""
    policy = a_policy(["gardening"], category=GARDEN)
    texts = [
        "How deep should I plant the tulips?",
        "My roses have spots on the leaves.",
        "The train was late again.",
        "Hi!",
    ]
    done = await a_moderator().moderate([Content.of(text) for text in texts], policy)
    found = [verdict.categories["gardening"] for verdict in done.verdicts]
    assert {category.source for category in found} == {"examples"}
    assert [category.violated for category in found] == [True, True, False, False]
    assert not any("no_score" in reason for verdict in done.verdicts for reason in verdict.reasons)


async def test_a_judge_is_asked_where_there_is_one():
    """It reads the definition; examples are what one has without it."""
    judge = ScriptedJudge({"gardening": 0.2})
    policy = a_policy(["gardening"], category=GARDEN)
    done = await a_moderator(judge).moderate([Content.of("How deep should I plant the tulips?")], policy)
    assert done.verdicts[0].categories["gardening"].source == "judge"


async def test_a_category_without_examples_is_scored_by_nobody():
    """And the verdict says that."""
    done = await a_moderator().moderate([Content.of("A text.")], a_policy(["gardening"]))
    assert done.verdicts[0].categories["gardening"].source == "none"
    assert done.verdicts[0].reasons == ("no_score: gardening",)


async def test_a_long_text_is_scored_by_its_nearest_window():
    """What stands at its end is found."""
    policy = a_policy(["gardening"], category=GARDEN)
    text = "The train was late again and we waited for an hour. " * 60 + "When should I plant the tomatoes? " * 60
    done = await a_moderator().moderate([Content.of(text)], policy)
    assert done.verdicts[0].windows > 1
    assert done.verdicts[0].categories["gardening"].violated


def test_allowed_examples_push_back():
    """A text that is as near to an allowed example as to a violating one is not found."""
    vectors = {"bad": [1.0, 0.0, 0.0], "good": [0.3, 0.95, 0.0], "plain": [0.0, 0.0, 1.0]}

    def embed(text: str):
        return np.array(vectors.get(text, vectors["plain"]), dtype=np.float32)

    def score(allowed: list[str], text: str) -> float:
        policy = a_policy(["own"], category={"examples": {"violates": ["bad"], "allowed": allowed}})
        return Nearest(policy, heads=("hate",), embed=embed).scores(embed(text))["own"]

    assert score([], "good") > 0.9
    assert score(["good"], "good") < 0.1
    assert score(["good"], "bad") > 0.5


def test_the_encoders_own_categories_need_no_examples():
    """Their examples are for a judge."""
    policy = a_policy(["hate"], category=GARDEN)
    nearest = Nearest(policy, heads=("hate",), embed=pytest.fail)
    assert nearest.scored == ()
    assert nearest.scores(np.zeros(4, dtype=np.float32)) == {}


def test_ordinary_sentences_are_many_and_different():
    """They stand for all that a category does not mean."""
    found = ordinary()
    assert len(found) == len(set(found)) >= 60

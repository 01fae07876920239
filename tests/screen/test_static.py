"""The static tier in the screen: it settles plain texts as the encoder would, and nothing else."""

import msgspec
import numpy as np
import pytest

from guard.cache.memory import MemoryCache
from guard.content import Content, Turn
from guard.moderator import Moderator
from guard.screen import Material
from guard.screen.encoder import Encoder
from guard.screen.standard import StandardScreen, limits
from guard.testing import Recorder, a_policy
from guard.text import normalise
from training.evaluate import default_policy

PLAIN = [
    "What time does the library open on Sunday?",
    "I would like to change the address of my order, please.",
    "The soup was wonderful, thank you for the recipe!",
    "Can you show me how to sort a list in Python?",
    "We moved the meeting to Thursday afternoon.",
    "My daughter has started to play the cello.",
    "How long does a transfer to another bank take?",
    "It rained all week, so the garden is green again.",
]


def material(text: str, **fields: object) -> Material:
    return Material(Content(text, **fields), normalise(text))


@pytest.fixture(scope="module")
def screens() -> dict[bool, StandardScreen]:
    """The shipped screen with the tier and without."""
    encoder = Encoder.shipped()
    assert encoder.static is not None, "the shipped model has no static tier"
    return {static: StandardScreen(encoder, threads=1, max_waiting=64, static=static) for static in (True, False)}


async def sources(screen: StandardScreen, *materials: Material) -> list[set[str]]:
    found = await screen.assess(list(materials), default_policy())
    return [{score.source for score in assessment.scores.values()} for assessment in found]


async def test_plain_texts_are_settled_as_the_encoder_settles_them(screens) -> None:
    """Most by the tier; all with every score below what the policy cares about, as the encoder says too."""
    policy = default_policy()
    materials = [material(text, role="user") for text in PLAIN]
    with_tier, without = [await screens[static].assess(materials, policy) for static in (True, False)]
    settled = [a for a in with_tier if {score.source for score in a.scores.values()} == {"static"}]
    assert len(settled) >= len(PLAIN) / 2
    for found in (with_tier, without):
        for assessment in found:
            values = np.array([score.value for score in assessment.scores.values()])
            assert (values < limits(policy, tuple(assessment.scores))).all()
    assert [set(a.scores) for a in with_tier] == [set(a.scores) for a in without]


@pytest.mark.parametrize(
    "text", ["You are a worthless idiot.", "How do I build a bomb at home?", "I will kill you tonight."]
)
async def test_what_is_not_plain_goes_to_the_encoder(screens, text: str) -> None:
    """And gets the very scores that it gets without the tier."""
    with_tier, without = [
        (await screens[static].assess([material(text)], default_policy()))[0] for static in (True, False)
    ]
    assert with_tier == without
    assert {score.source for score in with_tier.scores.values()} == {"encoder"}


async def test_context_hidden_readings_and_unknown_words_are_beyond_it(screens) -> None:
    """The tier reads a text alone, and only words that it has vectors for."""
    context = material(PLAIN[0], role="user", context=(Turn("assistant", "How can I help?"),))
    hidden = material("The soup was wonderful: dGhhbmsgeW91IGZvciB0aGUgcmVjaXBl")
    unknown = material("The soup was wonderful, 감사합니다")
    assert await sources(screens[True], context, hidden, unknown) == [{"encoder"}] * 3


async def test_a_policy_that_cares_about_less_settles_less(screens) -> None:
    """Under a policy that acts from 0.0001 on, the tier is never sure."""
    nervous = a_policy(("hate",), category={"thresholds": {"flag": 0.0001}, "doubt": None})
    (found,) = await screens[True].assess([material(PLAIN[0])], nervous)
    assert {score.source for score in found.scores.values()} == {"encoder"}


async def test_a_settled_text_is_asked_about_again_where_a_category_begins_to_matter_earlier(screens) -> None:
    """What the tier said under an easier policy is no answer under a stricter one, cached or not."""
    moderator = Moderator(
        screen=screens[True], judge=None, cache=MemoryCache(entries=9, ttl=60), secret=b"x" * 16, listener=Recorder()
    )
    easy, strict = (
        a_policy(("hate",), category={"thresholds": {"flag": flag}, "doubt": None}) for flag in (0.5, 0.0001)
    )
    found = [
        (await moderator.moderate([Content(PLAIN[0], "user")], policy)).verdicts[0] for policy in (easy, easy, strict)
    ]
    assert [verdict.cached for verdict in found] == [False, True, False]
    assert [verdict.categories["hate"].source for verdict in found] == ["static", "static", "encoder"]


async def test_another_language_is_beyond_it(screens) -> None:
    """The tier was taught English; its vectors know the pieces of other languages' words, and mean nothing there."""
    german = material("Ich weiß nicht, was ich heute Abend kochen soll.", role="user")
    assert await sources(screens[True], german) == [{"encoder"}]


async def test_a_category_that_the_tier_does_not_know_is_scored_by_the_encoder(screens) -> None:
    """A policy may use the encoder's further heads; the tier would leave them without a score."""
    policy = a_policy(("hate", "toxicity"))
    (found,) = await screens[True].assess([material(PLAIN[0], role="user")], policy)
    assert {name: score.source for name, score in found.scores.items()} == {"hate": "encoder", "toxicity": "encoder"}


def test_the_tier_is_part_of_the_screens_fingerprint(screens) -> None:
    """Two replicas that differ in it must not share a cache entry."""
    assert screens[True].fingerprint != screens[False].fingerprint


def test_limits_are_the_lowest_of_thresholds_and_doubts() -> None:
    """Over both rails; a head that the policy does not have never matters."""
    policy = a_policy(("hate", "violence"), category={"doubt": [0.2, 0.9]})
    assert limits(policy, ("hate", "pii")).tolist() == [0.2, 1.0]
    spec = msgspec.structs.replace(policy.spec.categories["hate"], doubt=None)
    without = type(policy)(msgspec.structs.replace(policy.spec, categories={"hate": spec}))
    assert limits(without, ("hate",)).tolist() == [0.5]

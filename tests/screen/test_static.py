"""The static tier in the screen: it settles plain texts as the encoder would, and nothing else."""

import msgspec
import numpy as np
import pytest

from guard.cache.memory import MemoryCache
from guard.content import Content, Turn
from guard.errors import ModelError
from guard.moderator import Moderator
from guard.policy.compiled import FAINT
from guard.screen import Material
from guard.screen.encoder import Encoder
from guard.screen.standard import StandardScreen
from guard.screen.static import StaticSettings, StaticTier
from guard.testing import Recorder, a_policy
from guard.text import normalise
from training.evaluate import default_policy

SETTLED = "My card has not arrived yet."
PLAIN = [
    "please set an alarm for seven tomorrow morning",
    "how many calories are in an apple",
    "What is the weather like today?",
    "how do i reset my card pin",
    SETTLED,
    "What are the symptoms of a cold?",
    "I would like to change the address of my order, please.",
    "We moved the meeting to Thursday afternoon.",
    "My daughter has started to play the cello.",
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
    """Half of them by the tier, and what it settles the encoder scores below the ceiling too."""
    materials = [material(text, role="user") for text in PLAIN]
    with_tier, without = [await screens[static].assess(materials, default_policy()) for static in (True, False)]
    settled = [
        (ours, encoders)
        for ours, encoders in zip(with_tier, without, strict=True)
        if {score.source for score in ours.scores.values()} == {"static"}
    ]
    assert len(settled) >= len(PLAIN) / 2
    for ours, encoders in settled:
        assert ours.scores.keys() == encoders.scores.keys()
        assert max(score.value for score in encoders.scores.values()) < FAINT
        assert max(score.value for score in ours.scores.values()) < FAINT


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


async def test_what_the_tier_does_not_read_is_beyond_it(screens) -> None:
    """A turn before, a hidden reading, unknown words, special tokens, length, emoji, another language, a rule's hit."""
    text = SETTLED
    assert await sources(screens[True], material(text)) == [{"static"}], "else this test shows nothing"
    beyond = [
        material(text, role="user", context=(Turn("assistant", "How can I help?"),)),
        material(f"{text} dGhhbmsgeW91IGZvciB0aGUgcmVjaXBl"),
        material(f"{text} 감사합니다"),
        material(f"{text} [CLS]"),
        material(" ".join([text] * 40)),
        material(f"{text} 🍲"),
        material("Meine Karte ist noch immer nicht angekommen, und niemand hilft mir."),
        material(f"{text} Write to mary.shaw@example.org"),
    ]
    assert await sources(screens[True], *beyond) == [{"encoder"}] * len(beyond)


@pytest.mark.parametrize(
    "category", [{"thresholds": {"flag": 0.01}, "doubt": None}, {"thresholds": {"flag": 0.5}, "doubt": [0.05, 0.9]}]
)
async def test_a_policy_that_tells_faint_scores_apart_asks_the_encoder(screens, category: dict[str, object]) -> None:
    """The tier knows no more than that a score is below its ceiling."""
    (found,) = await screens[True].assess([material(SETTLED)], a_policy(("hate",), category=category))
    assert {score.source for score in found.scores.values()} == {"encoder"}


async def test_a_settled_text_is_asked_about_again_where_faint_scores_begin_to_matter(screens) -> None:
    """What the tier said under an easier policy is no answer under a stricter one, cached or not."""
    moderator = Moderator(
        screen=screens[True], judge=None, cache=MemoryCache(entries=9, ttl=60), secret=b"x" * 16, listener=Recorder()
    )
    easy, easier, strict = (
        a_policy(("hate",), category={"thresholds": {"flag": flag}, "doubt": None}) for flag in (0.5, 0.7, 0.01)
    )
    found = [
        (await moderator.moderate([Content(SETTLED, "user")], policy)).verdicts[0] for policy in (easy, easier, strict)
    ]
    assert [verdict.cached for verdict in found] == [False, True, False]
    assert [verdict.categories["hate"].source for verdict in found] == ["static", "static", "encoder"]


async def test_a_category_that_the_tier_does_not_know_is_scored_by_the_encoder(screens) -> None:
    """A policy may use the encoder's further heads; the tier would leave them without a score."""
    (found,) = await screens[True].assess([material(SETTLED)], a_policy(("hate", "toxicity")))
    assert {name: score.source for name, score in found.scores.items()} == {"hate": "encoder", "toxicity": "encoder"}


async def test_a_disabled_category_changes_nothing(screens) -> None:
    """It is no part of the cache key, so it must not decide who gives the scores."""
    with_disabled = a_policy(("hate", "toxicity"))
    spec = with_disabled.spec
    toxicity = msgspec.structs.replace(spec.categories["toxicity"], enabled=False)
    with_disabled = type(with_disabled)(
        msgspec.structs.replace(spec, categories={"hate": spec.categories["hate"], "toxicity": toxicity})
    )
    plain = a_policy(("hate",))
    assert with_disabled.assessment_fingerprint == plain.assessment_fingerprint
    found = [(await screens[True].assess([material(SETTLED)], policy))[0] for policy in (plain, with_disabled)]
    assert found[0] == found[1]
    assert {score.source for score in found[0].scores.values()} == {"static"}


async def test_a_settled_text_is_settled_alone_and_in_company(screens) -> None:
    """In any batch, at any place, with the same scores."""
    (alone,) = await screens[True].assess([material(SETTLED)], default_policy())
    company = [material(text) for text in (*PLAIN, "You are a worthless idiot.", *PLAIN[::-1])]
    found = await screens[True].assess(company, default_policy())
    assert {place for place, one in enumerate(found) if one == alone} >= {4, len(company) - 5}


def test_the_tier_is_part_of_the_screens_fingerprint(screens) -> None:
    """Two replicas that differ in it must not share a cache entry."""
    assert screens[True].fingerprint != screens[False].fingerprint


def test_silent_below_is_where_anything_begins_under_a_policy() -> None:
    """Thresholds and doubtful bands over both rails; nothing at all where only rules decide."""
    assert a_policy(("hate", "violence"), category={"doubt": [0.2, 0.9]}).silent_below == 0.2
    policy = a_policy(("hate",), category={"doubt": None})
    assert policy.silent_below == 0.5
    spec = msgspec.structs.replace(policy.spec, categories={})
    assert type(policy)(spec).silent_below == 1.0


def test_the_shipped_policies_of_adults_let_the_tier_settle(screens) -> None:
    """Or it would be of no use to anyone who has not decided yet."""
    tier = Encoder.shipped().static
    assert tier is not None
    assert tier.settings.ceiling <= FAINT
    assert default_policy().silent_below >= tier.settings.ceiling


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_a_damaged_file_is_named(tmp_path, content: bytes | None) -> None:
    """Nothing, another file, or another program's arrays under our name."""
    path = tmp_path / "static.npz"
    if content is None:
        np.savez(path, words=np.zeros(3))
    else:
        path.write_bytes(content)
    settings = StaticSettings(FAINT, -4.0, {}, ("unknown",), 600, 64, 31)
    with pytest.raises(ModelError, match=r"static\.npz"):
        StaticTier(path, settings)

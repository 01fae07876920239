"""The shipped screen as a whole: rules and encoder over a text and its readings, in threads, within bounds."""

import asyncio
import gc
import threading
import time

import numpy as np
import pytest

from guard.content import Content, Turn
from guard.errors import Overloaded, ScreenFailed
from guard.screen import Material
from guard.screen.encoder import Encoder, Reading
from guard.screen.standard import MAX_HITS, StandardScreen
from guard.testing import a_policy
from guard.text import normalise

RULES = {
    "terms": {"taunts": {"category": "hate", "action": "flag", "words": ["go away", "сука"]}},
    "patterns": {"email": {"category": "violence", "action": "flag"}},
}


def material(text: str, **fields: object) -> Material:
    return Material(Content(text, **fields), normalise(text))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """The encoder of the package."""
    return Encoder.shipped()


@pytest.fixture
def screen(encoder) -> StandardScreen:
    """Two threads, sixteen texts."""
    return StandardScreen(encoder, threads=2, max_waiting=16)


class Slow:
    """An encoder that takes its time, and heeds the deadline as the real one does."""

    heads = ("hate", "violence")
    languages = ("en",)
    name = fingerprint = "slow"
    static = None

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds
        self.calls = 0
        self.lock = threading.Lock()

    def read(self, text, *, role="", context="", deadline=None):
        if deadline is not None and time.monotonic() > deadline:
            raise ScreenFailed("not within the policy's deadline")
        with self.lock:
            self.calls += 1
        time.sleep(self.seconds)
        return Reading(np.array([0.1, 0.2]), {}, 1, 0.0, np.zeros((1, 4), dtype=np.float32))


async def test_rules_and_encoder_both_speak(screen):
    """Hits of terms and patterns, and a score for every category that the encoder knows."""
    (assessment,) = await screen.assess([material("Go away! a@b.com")], a_policy(**RULES))
    assert [(hit.kind, hit.name, hit.start, hit.end) for hit in assessment.hits] == [
        ("terms", "taunts", 0, 7),
        ("patterns", "email", 9, 16),
    ]
    assert set(assessment.scores) == {"hate", "violence"}


async def test_a_category_of_ones_own_has_no_score(screen):
    """Nobody here can score it, and nothing is made up."""
    (assessment,) = await screen.assess([material("Roses are red.")], a_policy(["poetry"]))
    assert assessment.scores == {}


async def test_a_term_in_another_script_is_found_in_both_surroundings(screen):
    """Among its own letters, and folded among Latin ones."""
    texts = ["ты сука", "you are such a сука my friend"]
    assessments = await screen.assess([material(text) for text in texts], a_policy(**RULES))
    assert [bool(assessment.hits) for assessment in assessments] == [True, True]


async def test_a_hidden_reading_is_screened_and_its_spans_lie_in_the_text(screen):
    """What stands in base64 counts where the block stands, once."""
    block = "Z28gYXdheSBhbmQgd3JpdGUgdG8gYUBiLmNvbSBub3c="
    (assessment,) = await screen.assess([material(f"Read this: {block}")], a_policy(**RULES))
    assert {hit.name for hit in assessment.hits} == {"taunts", "email"}
    assert all((hit.start, hit.end) == (11, 11 + len(block)) for hit in assessment.hits)


async def test_a_match_seen_in_two_readings_is_one_match(screen):
    """A view of the whole text repeats what the text says already."""
    (assessment,) = await screen.assess([material("mail a@b.com and s3nd m0ney n0w pl3ase")], a_policy(**RULES))
    assert [hit.name for hit in assessment.hits] == ["email"]


async def test_a_flood_of_matches_is_bounded_and_nothing_is_left_out(screen):
    """The last match then reaches to the end of the last one."""
    text = "a@b.com " * 5_000
    (assessment,) = await screen.assess([material(text)], a_policy(**RULES))
    assert len(assessment.hits) == MAX_HITS
    assert assessment.hits[-1].end == len(text) - 1


async def test_a_text_past_the_deadline_fails_alone_and_keeps_its_rules():
    """Its neighbours keep their scores; the threads stop working on it."""
    slow = Slow()
    screen = StandardScreen(slow, threads=1, max_waiting=100)
    materials = [material(f"go away {n}") for n in range(8)]
    assessments = await screen.assess(materials, a_policy(**RULES), deadline=time.monotonic() + 0.25)
    failed = [assessment.failures == ("screen",) for assessment in assessments]
    assert failed == sorted(failed)
    assert 0 < sum(failed) < 8
    assert slow.calls == 8 - sum(failed)
    assert all(assessment.hits for assessment in assessments)


async def test_texts_count_as_waiting_until_a_thread_is_done_with_them():
    """A caller that gives up does not make room that is not there."""
    screen = StandardScreen(Slow(0.3), threads=1, max_waiting=2)
    impatient = asyncio.create_task(screen.assess([material("a"), material("b")], a_policy()))
    await asyncio.sleep(0.05)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    with pytest.raises(Overloaded, match="2 texts are in work; at most 2 may be"):
        await screen.assess([material("c")], a_policy())
    await asyncio.sleep(0.7)
    assert len(await screen.assess([material("c")], a_policy())) == 1


async def test_compiled_rules_go_with_their_policy(screen):
    """A thousand edits do not leave a thousand automata."""
    for number in range(20):
        await screen.assess([material("a")], a_policy(**RULES, description=f"Number {number}."))
    gc.collect()
    assert len(screen._rules) <= 1


async def test_words_glued_with_symbols_or_blanks_are_read(screen):
    """An emoji or a blank-looking letter between words hides none of them from the rules or the encoder."""
    plain = "I will kill you tonight"
    for glue in ("🔪", "\u2800", "\u3164", "★"):
        text = plain.replace(" ", glue)
        own, glued = await screen.assess([material(plain), material(text)], a_policy(["violence"]))
        assert glued.unread < 0.6
        assert glued.scores["violence"].value > own.scores["violence"].value / 5, glue


async def test_what_the_encoder_cannot_read_is_said(screen):
    """A script that the vocabulary does not have is not passed off as read."""
    (assessment,) = await screen.assess([material("ꯑꯩꯅ ꯅꯪꯕꯨ ꯅꯨꯡꯁꯤ")], a_policy())
    assert assessment.unread > 0.3


async def test_a_long_word_is_read_in_pieces(screen):
    """A run without spaces is not one unknown word."""
    (assessment,) = await screen.assess([material("iwillkillyou" * 20)], a_policy())
    assert assessment.unread < 0.1


async def test_the_turn_before_is_read(screen):
    """The same answer after another question is another text."""
    turns = [(Turn("user", text),) for text in ("Shall I kill him?", "Shall I bake a cake?")]
    materials = [material("Yes, do it now.", role="assistant", context=turn) for turn in turns]
    first, second = await screen.assess(materials, a_policy())
    assert first.scores["violence"].value != second.scores["violence"].value

"""Measured, not believed: nothing that the final verdict blocks reaches the client, and all else arrives unchanged.

The shipped encoder and the default policy, streams as fast as they come, cut into tokens at random borders.
"""

from typing import NamedTuple

import pytest

from benchmarks.leaks import FIDELITY, changed_streams, leaked, with_hold_back
from benchmarks.upstream import HARMLESS
from guard.config import settings_from
from guard.moderator import Moderator
from guard.policy import Policy
from guard.service import build
from guard.testing import a_policy
from tests.chat.doubles import WordScreen, a_moderator


class Built(NamedTuple):
    """The shipped moderator and policy."""

    moderator: Moderator
    policy: Policy


@pytest.fixture(scope="module")
def shipped() -> Built:
    """One encoder for the module."""
    service = build(settings_from({}))
    return Built(service.moderator, service.book["default"])


async def test_nothing_that_is_blocked_arrives(shipped):
    """With the default policy's hold-back: not one character of the spans that are blocked for."""
    found = await leaked(*shipped, range(60), pace=0.0)
    assert found.blocked >= 15
    assert (found.characters, found.unstopped, found.changed) == (0, 0, 0)


async def test_of_a_slow_answer_only_harmless_first_words_arrive(shipped):
    """At the pace of a model the first words leave after a tenth of the hold-back: they are all that may be lost of
    an answer that begins with its harm; with a longer hold-back, nothing is."""
    found = await leaked(*shipped, range(30), pace=0.02)
    assert found.blocked >= 10
    assert found.characters / found.blocked < 5
    assert (found.unstopped, found.changed) == (0, 0)
    patient = await leaked(shipped.moderator, with_hold_back(shipped.policy, 240, 60_000), range(30), pace=0.02)
    assert (patient.characters, patient.unstopped) == (0, 0)


async def test_without_a_hold_back_much_arrives(shipped):
    """So that the test above can fail."""
    found = await leaked(shipped.moderator, with_hold_back(shipped.policy, 0, 0), range(20), pace=0.002)
    assert found.blocked >= 5
    assert found.characters > 20


async def test_harmless_streams_arrive_unchanged():
    """Hundreds, in every script and however they are cut, as one joined text."""
    policy = a_policy(("hate",), chat={"streaming": {"hold_back_ms": 0, "hold_back_characters": 40}})
    found = await changed_streams(a_moderator(WordScreen()), policy, range(300), sentences=[*FIDELITY, *HARMLESS])
    assert found.streams == 300
    assert found.seeds == []


async def test_harmless_streams_arrive_unchanged_through_the_shipped_screen(shipped):
    """Many at the same time."""
    assert (await changed_streams(*shipped, range(30))).seeds == []

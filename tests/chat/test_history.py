"""What stands before the turns that are checked: redacted as the policy says, and no more."""

import time

from guard.api.chat import MOST_MESSAGES
from guard.chat.conversation import MOST_TURNS, context_of, messages_of
from guard.chat.history import AT_ONCE, history_of
from guard.content import Rail
from guard.errors import ScreenFailed
from guard.telemetry import ModerationDone
from guard.testing import FixedScreen, Recorder, a_policy
from tests.moderator.test_moderator import a_moderator


class BrokenScreen(FixedScreen):
    """Cannot score anything."""

    async def assess(self, materials, policy, *, deadline=None):
        """See `Screen.assess`."""
        raise ScreenFailed("broken")


def conversation(*texts: str):
    """A user's and an assistant's turns, by turns."""
    return messages_of(
        {"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]}
    )


async def test_a_policy_that_redacts_nothing_asks_nobody(screen):
    """Nothing is read twice for nothing."""
    recorder = Recorder()
    moderator = a_moderator(screen, recorder=recorder)
    found = await history_of(moderator, conversation("a@example.com", "b", "c"), a_policy(["hate"]))
    assert (found.cuts, found.failed, recorder.events) == ([], (), [])


async def test_all_turns_before_the_scope_are_looked_at_however_many(screen, make_chat_policy):
    """In calls that find their place, and the scope's own turns are left to the rail."""
    texts = [f"write to user{n}@example.com" for n in range(2 * AT_ONCE + 3)]
    messages = conversation(*texts)
    found = await history_of(a_moderator(screen), messages, make_chat_policy())
    # The last turn is what follows the last answer.
    assert [message.text for message, _ in found.cuts] == texts[:-1]
    assert {cut.label for _, cuts in found.cuts for cut in cuts} == {"EMAIL"}
    assert (await history_of(a_moderator(screen), messages, make_chat_policy(scope="all"))).cuts == []


async def test_a_long_conversation_of_short_turns_costs_little(make_chat_policy):
    """Each message has its context, and they have most of it in common."""
    messages = conversation(*["ä"] * MOST_MESSAGES)
    begun = time.process_time()
    assert (await history_of(a_moderator(FixedScreen({"pii": 0.0})), messages, make_chat_policy())).cuts == []
    assert time.process_time() - begun < 8
    assert len(context_of(messages)) == MOST_TURNS


async def test_nobody_is_told_of_what_was_decided_before(screen, make_chat_policy):
    """It would be counted, and compared with candidates, once for every turn that follows."""
    recorder = Recorder()
    moderator = a_moderator(screen, recorder=recorder)
    await history_of(moderator, conversation("mail a@example.com", "b", "c"), make_chat_policy())
    assert not [event for event in recorder.events if isinstance(event, ModerationDone)]


async def test_a_failing_screen_is_told(make_chat_policy):
    """What follows from it is the policy's word, as for the turns that are checked."""
    policy = make_chat_policy()
    found = await history_of(a_moderator(BrokenScreen({})), conversation("a", "b", "c"), policy)
    assert [verdict.degraded for verdict in found.failed] == [True, True]
    assert policy.redacting(Rail.INPUT) == {"pii"}

"""What stands before the turns that are checked: it has been let pass once, and clients send it again as it was.

A model reads it again too. So what the policy redacts is redacted there as well, wherever the scope begins.
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from guard.chat.conversation import Message, out_of_scope
from guard.content import Rail
from guard.moderator import Moderator
from guard.policy import Policy
from guard.verdict import Cut, Verdict

__all__ = ["History", "history_of"]

AT_ONCE = 64
"""Messages that are looked up in one call: conversations may be longer than what may wait for the screen."""


class History(NamedTuple):
    """What is to be cut from messages before the scope, and verdicts on those where a stage failed."""

    cuts: list[tuple[Message, tuple[Cut, ...]]]
    failed: tuple[Verdict, ...]


async def history_of(moderator: Moderator, messages: Sequence[Message], policy: Policy, *, tenant: str = "") -> History:
    """What the policy redacts in the messages that its scope leaves out; nothing else of it acts there. Most of them
    are known from when they were the last turn.

    Raises:
        Overloaded: too many texts are waiting already.
    """
    redacting = policy.redacting(Rail.INPUT)
    earlier = out_of_scope(messages, policy.spec.chat) if redacting else iter(())
    history = History([], ())
    while some := list(islice(earlier, AT_ONCE)):
        contents = [content for _, content in some]
        found = await moderator.moderate(contents, policy, only=redacting, cuts=True, again=True, tenant=tenant)
        pairs = list(zip(some, found.verdicts, strict=True))
        cuts = [(message, verdict.cuts) for (message, _), verdict in pairs if verdict.cuts]
        failed = tuple([verdict for _, verdict in pairs if verdict.degraded])
        history = History(history.cuts + cuts, history.failed + failed)
    return history

"""The judge: an instruct model that reads a policy's own words and a text, and answers with probabilities.

This page is the contract; it imports no model runtime. In the cascade a judge is asked only about the categories whose
screen score lies in the policy's doubtful band; `POST /v1/decisions` asks it anything.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from guard.content import Content
from guard.policy import Policy
from guard.policy.prompt import question, self_reflection
from guard.question import Answer, Question

__all__ = ["Answers", "Inquiry", "Judge", "asking"]


class Inquiry(msgspec.Struct, frozen=True):
    """Questions about one text.

    Attributes:
        content: the text, as `normalise` left it, with the turns before it.
        questions: at least one; each is answered as if it were asked alone.
        policy: whose words stand before the text; None where the questions say all that there is to say.
        categories: with a policy, the categories that somebody wants to know about: one for each predicate, in
            order; or all of them under one choice.
        show_prompt: whether the answers should hold the prompt's token ids, where the judge knows them.
        session: a name for a text that is asked about again and again while it grows: a judge may keep what it has read
            under it and read only what is new. It changes no answer by more than rounding. Names are made here and
            never taken from a client: how long an answer takes tells who knows a name what was asked under it before.
        tenant: whose text it is; no answer may depend on it. A judge elsewhere keeps what it reads for each apart.
    """

    content: Content
    questions: tuple[Question, ...]
    policy: Policy | None = None
    categories: tuple[str, ...] = ()
    show_prompt: bool = False
    session: str | None = None
    tenant: str = ""


def asking(
    policy: Policy, content: Content, categories: tuple[str, ...], session: str | None = None, tenant: str = ""
) -> Inquiry:
    """What to ask so as to learn these categories: a question for each, or the one that covers all."""
    if policy.spec.mode == "self_reflection":
        questions = (self_reflection(policy, content.rail),)
        return Inquiry(content, questions, policy, categories, session=session, tenant=tenant)
    asked = tuple([question(policy, category) for category in categories])
    return Inquiry(content, asked, policy, categories, session=session, tenant=tenant)


class Answers(msgspec.Struct, frozen=True):
    """One answer per question, in order, and what they cost: tokens read, and how many of them were not computed anew
    because the judge had them from before."""

    answers: tuple[Answer, ...]
    tokens: int = 0
    cached_tokens: int = 0


class Judge(Protocol):
    """Answers batches of inquiries.

    Answers come in the order of the inquiries. An answer depends on its inquiry alone, never on the batch, and on what
    its session asked before by no more than rounding. The call may be cancelled; nothing is answered half.
    """

    @property
    def name(self) -> str:
        """The model's name, as verdicts show it."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever answers may change; part of the cache key."""

    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        """The answers to each inquiry. `deadline` is a reading of `time.monotonic`; None is no hurry.

        Raises:
            JudgeFailed: no answers, or not before the deadline.
            Overloaded: too much waits already.
        """

    async def close(self) -> None:
        """Gives back connections; called at the end of an event loop that used the judge."""

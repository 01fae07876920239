"""One caller's flood is that caller's own."""

import asyncio
import random

import pytest

from guard.errors import Overloaded
from guard.moderator import Moderator
from guard.testing import FixedScreen, Recorder, a_policy
from guard.turns import CROWD, Turns
from tests.moderator.test_moderator import a_moderator, contents


class SlowScreen(FixedScreen):
    """Takes a hundredth of a second for a call, and remembers the most calls that ran at a time."""

    def __init__(self) -> None:
        super().__init__({"hate": 0.1})
        self.running = self.most = 0

    async def assess(self, materials, policy, *, deadline=None):
        """See `Screen.assess`."""
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        return await super().assess(materials, policy, deadline=deadline)


def a_fair_moderator(screen: SlowScreen, *, slots: int = 2, most: int = 100) -> Moderator:
    """One with turns."""
    made = a_moderator(screen, entries=0, recorder=Recorder())
    made._turns = Turns(slots, most)
    return made


async def test_another_tenants_text_does_not_wait_behind_a_flood():
    """It comes after what is in work, not after what waits."""
    screen = SlowScreen()
    moderator = a_fair_moderator(screen)
    policy = a_policy(["hate"])
    flood = [asyncio.create_task(moderator.moderate(contents(f"flood {n}"), policy, tenant="loud")) for n in range(90)]
    await asyncio.sleep(0.015)
    await moderator.moderate(contents("mine"), policy, tenant="quiet")
    assert screen.texts.index("mine") <= 8
    assert sum(not task.done() for task in flood) > 70
    await asyncio.gather(*flood)
    assert screen.most == 2


async def test_a_request_of_many_texts_takes_many_turns():
    """Others come in between; its verdicts stay in their order."""
    screen = SlowScreen()
    moderator = a_fair_moderator(screen, slots=1)
    policy = a_policy(["hate"])
    texts = [f"text {n}" for n in range(64)]
    many = asyncio.create_task(moderator.moderate(contents(*texts), policy, tenant="loud"))
    await asyncio.sleep(0.005)
    await moderator.moderate(contents("mine"), policy, tenant="quiet")
    assert screen.texts.index("mine") <= 16
    await many
    assert [text for text in screen.texts if text != "mine"] == texts


async def test_a_tenants_queue_is_bounded_and_nobody_elses():
    """Whoever floods is refused; the others are let in."""
    moderator = a_fair_moderator(SlowScreen(), most=10)
    policy = a_policy(["hate"])
    flood = [asyncio.create_task(moderator.moderate(contents(f"flood {n}"), policy, tenant="loud")) for n in range(30)]
    await asyncio.sleep(0)
    await moderator.moderate(contents("mine"), policy, tenant="quiet")
    done = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(one, Overloaded) for one in done) == 20


async def test_all_queues_together_are_bounded():
    """Many keys are no way round."""
    turns = Turns(slots=1, most=10)
    places = [turns.place(f"tenant {number}", 10) for number in range(CROWD)]
    for place in places:
        await place.__aenter__()
    assert turns.waiting == CROWD * 10
    with pytest.raises(Overloaded):
        async with turns.place("one more", 1):
            pass
    for place in places:
        await place.__aexit__(None, None, None)
    assert turns.waiting == 0


async def test_no_turn_is_lost_or_given_twice():
    """Whoever waits, works or leaves, in any order."""
    rng = random.Random(7)
    turns = Turns(slots=3, most=1_000)
    running = most = served = 0

    async def work(tenant: str) -> None:
        nonlocal running, most, served
        async with turns.turn(tenant):
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(rng.random() * 0.004)
                served += 1
            finally:
                running -= 1

    tasks = []
    for _ in range(400):
        tasks.append(asyncio.create_task(work(rng.choice("abc"))))
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
        if rng.random() < 0.2:
            await asyncio.sleep(0.001)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert served == sum(one is None for one in done) > 200
    assert (running, most) == (0, 3)
    async with turns.turn("a"), turns.turn("b"), turns.turn("c"):
        pass

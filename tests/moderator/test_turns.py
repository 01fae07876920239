"""One caller's flood is that caller's own."""

import asyncio
import random

import pytest

import guard.moderator as moderator_module
from guard.errors import Overloaded
from guard.moderator import SHORT, Moderator
from guard.testing import FixedScreen, Recorder, SteppingClock, a_policy
from guard.turns import CROWD, LATELY, Crowd, Turns
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


class HeldScreen(FixedScreen):
    """Finishes a call when the test says so; remembers each call's texts."""

    def __init__(self) -> None:
        super().__init__({"hate": 0.1})
        self.calls: list[list[str]] = []
        self._held: list[asyncio.Future[None]] = []

    async def assess(self, materials, policy, *, deadline=None):
        """See `Screen.assess`."""
        self.calls.append([material.normalised.text for material in materials])
        held = asyncio.get_running_loop().create_future()
        self._held.append(held)
        await held
        return await super().assess(materials, policy, deadline=deadline)

    def finish(self, call: int) -> None:
        """Lets a call end, by its number from 0 on."""
        self._held[call].set_result(None)


async def settled() -> None:
    """Until nothing goes on by itself."""
    for _ in range(50):
        await asyncio.sleep(0)


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
    screen = HeldScreen()
    moderator = a_fair_moderator(screen, most=10)
    policy = a_policy(["hate"])
    texts = [f"flood {n}" for n in range(10)]
    full = asyncio.create_task(moderator.moderate(contents(*texts), policy, tenant="loud"))
    await settled()
    flood = [asyncio.create_task(moderator.moderate(contents(f"more {n}"), policy, tenant="loud")) for n in range(20)]
    mine = asyncio.create_task(moderator.moderate(contents("mine"), policy, tenant="quiet"))
    done = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(one, Overloaded) for one in done) == 20
    for call in range(3):
        await settled()
        screen.finish(call)
    await full
    await mine
    assert sorted(screen.texts) == sorted([*texts, "mine"])


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


async def test_a_tenant_with_nothing_in_work_waits_for_no_piece_of_anothers():
    """Its first piece runs beside the flood's; its second one takes its turn."""
    screen = HeldScreen()
    moderator = a_moderator(screen, entries=0, recorder=Recorder())
    moderator._turns = Turns(slots=2, most=100, beside=2)
    policy = a_policy(["hate"])

    def come(text: str, tenant: str) -> asyncio.Task[object]:
        return asyncio.create_task(moderator.moderate(contents(text), policy, tenant=tenant))

    flood = [come(f"flood {n}", "loud") for n in range(5)]
    await settled()
    assert screen.calls == [["flood 0"], ["flood 1"]]
    quiet = [come("mine", "quiet"), come("mine too", "quiet")]
    await settled()
    assert screen.calls[2:] == [["mine"]]
    screen.finish(2)
    await quiet[0]
    await settled()
    assert screen.calls[3:] == [["mine too"]]
    assert not any(task.done() for task in flood)
    for call in range(7):
        if call != 2:
            screen.finish(call)
            await settled()
    await asyncio.gather(*flood, *quiet)


async def test_those_beside_are_bounded_and_take_turns():
    """As many as there is room for; then each tenant's first in turn, and the flood's own are not forgotten."""
    turns = Turns(slots=1, most=100, beside=1)
    begun: list[str] = []
    ends: dict[str, asyncio.Future[None]] = {}

    async def work(tenant: str, name: str) -> None:
        async with turns.turn(tenant):
            begun.append(name)
            ends[name] = asyncio.get_running_loop().create_future()
            await ends[name]

    tasks = []
    for name in ("loud 1", "loud 2", "loud 3", "a 1", "a 2", "b 1", "c 1"):
        tasks.append(asyncio.create_task(work(name.split()[0], name)))
        await settled()
    assert begun == ["loud 1", "a 1"]
    for ended in ("a 1", "loud 1", "a 2", "loud 2", "b 1", "c 1", "loud 3"):
        ends[ended].set_result(None)
        await settled()
    assert begun == ["loud 1", "a 1", "a 2", "loud 2", "b 1", "c 1", "loud 3"]
    await asyncio.gather(*tasks)


async def test_pieces_are_short_only_while_several_tenants_are_there():
    """Large ones cost less; short ones are soon over."""
    clock = SteppingClock()
    screen = HeldScreen()
    moderator = a_fair_moderator(screen, slots=1)
    moderator._crowd = Crowd(clock)
    policy = a_policy(["hate"])
    clock.step(2 * LATELY)
    texts = ["x" * (SHORT // 2 - 3) + f" {n}" for n in range(20)]
    many = asyncio.create_task(moderator.moderate(contents(*texts), policy))
    await settled()
    mine = asyncio.create_task(moderator.moderate(contents("mine"), policy, tenant="quiet"))
    await settled()
    for call in range(5):
        if call == 3:
            clock.step(LATELY)
        screen.finish(call)
        await settled()
    assert [len(call) for call in screen.calls] == [8, 1, 2, 2, 8]
    assert [text for call in screen.calls if call != ["mine"] for text in call] == texts
    assert len((await many).verdicts) == 20
    await mine


async def test_what_has_no_place_is_refused_before_it_is_read_and_a_moment_later(monkeypatch):
    """Who comes again at once is slowed down; who is patient looks for itself."""
    monkeypatch.setattr("guard.moderator.HELD", 0.05)
    screen = HeldScreen()
    moderator = a_fair_moderator(screen, slots=1, most=2)
    policy = a_policy(["hate"])
    full = asyncio.create_task(moderator.moderate(contents("a", "b"), policy))
    await settled()

    async def never(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(moderator, "_materials", never)
    refused = asyncio.create_task(moderator.moderate(contents("c"), policy))
    await settled()
    assert not refused.done()
    with pytest.raises(Overloaded):
        await refused
    eager = asyncio.create_task(moderator.moderate(contents("c"), policy, patient=True))
    await settled()
    with pytest.raises(Overloaded):
        eager.result()
    screen.finish(0)
    await full


async def test_on_the_event_loop_tenants_take_turns_once_several_are_there():
    """One's hundred parts do not come before another's one; who is alone does not wait."""
    clock = SteppingClock()
    crowd = Crowd(clock)
    order: list[str] = []

    async def part(tenant: str) -> None:
        crowd.come(tenant)
        await crowd.turn(tenant)
        order.append(tenant)

    clock.step(2 * LATELY)
    alone = part("")
    with pytest.raises(StopIteration):
        alone.send(None)
    assert not crowd.several
    parts = [asyncio.create_task(part("loud")) for _ in range(100)] + [asyncio.create_task(part("quiet"))]
    await asyncio.gather(*parts)
    assert crowd.several
    assert order.index("quiet") <= 4
    assert order.count("loud") == 100
    clock.step(LATELY)
    assert not crowd.several


async def test_a_long_call_leaves_the_event_loop_to_others_between_its_slices(monkeypatch):
    """Normalising thousands of characters is no one piece while somebody else is there."""
    moderator = a_fair_moderator(SlowScreen())
    policy = a_policy(["hate"])
    order: list[str] = []
    real = moderator_module._material

    def watched(content, known):
        order.append(content.text[:5])
        return real(content, known)

    monkeypatch.setattr(moderator_module, "_material", watched)
    texts = [f"flood {n} " + "word " * 180 for n in range(9)]
    many = asyncio.create_task(moderator.moderate(contents(*texts), policy, tenant="loud"))
    mine = asyncio.create_task(moderator.moderate(contents("mine"), policy, tenant="quiet"))
    await asyncio.gather(many, mine)
    assert order.index("mine") <= 4
    assert order.count("flood") == 9


async def test_deciding_on_many_known_texts_leaves_the_event_loop_to_others(monkeypatch):
    """A call of texts that the cache knows costs the loop alone, and is no one piece either."""
    moderator = a_moderator(FixedScreen({"hate": 0.1}), entries=1_000, recorder=Recorder())
    policy = a_policy(["hate"])
    order: list[str] = []
    real = moderator_module.decide

    def watched(policy, assessment, normalised, **options):
        order.append(normalised.original.split()[0])
        return real(policy, assessment, normalised, **options)

    monkeypatch.setattr(moderator_module, "decide", watched)
    texts = [f"flood {n}" for n in range(3 * moderator_module.DECIDED)]
    for known in (False, True):
        order.clear()
        many = asyncio.create_task(moderator.moderate(contents(*texts), policy, tenant="loud"))
        mine = asyncio.create_task(moderator.moderate(contents("mine"), policy, tenant="quiet"))
        done, _ = await asyncio.gather(many, mine)
        assert [verdict.cached for verdict in done.verdicts] == [known] * len(texts)
    assert order.index("mine") == moderator_module.DECIDED
    assert order.count("flood") == len(texts)


async def test_who_is_alone_is_decided_on_in_one_piece(monkeypatch):
    """The loop is not gone round for nobody."""
    moderator = a_fair_moderator(SlowScreen())
    clock = SteppingClock()
    moderator._crowd = Crowd(clock)
    clock.step(2 * LATELY)
    texts = [f"text {n}" for n in range(3 * moderator_module.DECIDED)]
    waited = []
    monkeypatch.setattr(moderator._crowd._turns, "turn", waited.append)
    assert len((await moderator.moderate(contents(*texts), a_policy(["hate"]))).verdicts) == len(texts)
    assert not waited

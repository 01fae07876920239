"""The same text at the same time is read once."""

import asyncio

import pytest

from guard.errors import Overloaded
from guard.single_flight import SingleFlight
from guard.testing import FixedScreen, ScriptedJudge, a_policy
from tests.moderator.test_moderator import a_moderator, contents


async def test_a_thousand_identical_requests_are_judged_once():
    """Each has the verdict; what it cost is counted once."""
    screen, judge = FixedScreen({"hate": 0.5}), ScriptedJudge({"hate": 0.95}, delay=0.05)
    moderator = a_moderator(screen, judge, entries=0)
    done = await asyncio.gather(*[moderator.moderate(contents("same"), a_policy(["hate"])) for _ in range(1_000)])
    assert (len(screen.texts), len(judge.asked)) == (1, 1)
    assert {one.verdicts[0].action for one in done} == {"block"}
    assert sum(one.judged for one in done) == 1


async def test_who_waits_is_not_failed_by_who_leaves():
    """The next one takes over."""
    screen, judge = FixedScreen({"hate": 0.5}), ScriptedJudge({"hate": 0.1}, delay=0.05)
    moderator = a_moderator(screen, judge, entries=0)
    first, *others = [asyncio.create_task(moderator.moderate(contents("same"), a_policy(["hate"]))) for _ in range(5)]
    await asyncio.sleep(0.02)
    first.cancel()
    done = await asyncio.gather(*others)
    assert {one.verdicts[0].action for one in done} == {"allow"}
    assert len(judge.asked) == 2
    assert first.cancelled()


async def test_other_tenants_and_policies_have_their_own():
    """Nobody can tell what somebody else is asking."""
    judge = ScriptedJudge({"hate": 0.1}, delay=0.02)
    moderator = a_moderator(FixedScreen({"hate": 0.5}), judge, entries=0)
    await asyncio.gather(
        *[moderator.moderate(contents("same"), a_policy(["hate"]), tenant=tenant) for tenant in ("a", "b", "a")]
    )
    assert sorted(inquiry.tenant for inquiry in judge.asked) == ["a", "b"]


async def test_keys_are_worked_on_once_in_any_mixture():
    """Some of them under way, some not."""
    flights: SingleFlight[str, str] = SingleFlight()
    asked: list[str] = []

    async def work(keys: list[str]) -> dict[str, str]:
        asked.extend(keys)
        await asyncio.sleep(0.01)
        return {key: key.upper() for key in keys}

    found = await asyncio.gather(*[flights.run(keys, work) for keys in ("ab", "bc", "ca", "d", "aa")])
    assert [one.found for one in found] == [{key: key.upper() for key in keys} for keys in ("ab", "bc", "ca", "d", "a")]
    assert sorted(asked) == ["a", "b", "c", "d"]
    assert [sorted(one.own) for one in found] == [["a", "b"], ["c"], [], ["d"], []]


async def test_an_error_is_its_own_callers():
    """The others try by themselves."""
    flights: SingleFlight[str, str] = SingleFlight()
    calls = 0

    async def work(keys: list[str]) -> dict[str, str]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        if calls == 1:
            raise Overloaded("full")
        return dict.fromkeys(keys, "x")

    one, *others = await asyncio.gather(*[flights.run("a", work) for _ in range(3)], return_exceptions=True)
    assert isinstance(one, Overloaded)
    assert [other.found for other in others if not isinstance(other, BaseException)] == [{"a": "x"}] * 2
    assert calls == 2
    calls = 0
    with pytest.raises(Overloaded):
        await flights.run("a", work)

"""Shadows: candidates beside what was decided, from the same scores or from their own, and never in the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from guard import shadow as module
from guard.cache.memory import MemoryCache
from guard.content import Content, Rail
from guard.errors import Overloaded
from guard.judge import Judge
from guard.moderator import Moderator
from guard.policy import Policy
from guard.shadow import LeisurelyJudge, LeisurelyScreen, Shadow
from guard.store import Beside
from guard.store import recorder as store
from guard.telemetry import REQUEST_ID, CategoryFlip, Listeners, ModerationDone, ShadowDone, ShadowDropped
from guard.testing import FixedScreen, Recorder, ScriptedJudge, a_policy

CANARY = "canary-in-the-mine"
THRESHOLDS = {"flag": 0.5, "review": 0.7, "block": 0.9}
LIVE = a_policy(("hate",), name="live")
HARDER = a_policy(("hate",), name="harder", category={"thresholds": THRESHOLDS | {"block": 0.8}})
MILDER = a_policy(("hate",), name="milder", category={"thresholds": {"block": 0.95}})
OTHER = a_policy(("hate", "violence"), name="other")


class Setting(NamedTuple):
    """A moderator with a shadow, and what was told."""

    moderator: Moderator
    shadow: Shadow
    recorder: Recorder
    screen: FixedScreen
    spare: list[bool]

    async def ask(self, *texts: str, **more: Any) -> None:
        """Moderates under `live` and waits until nothing waits any more."""
        await self.moderator.moderate([Content.of(text) for text in texts], LIVE, **more)
        await self.quiet()

    async def quiet(self) -> None:
        async with asyncio.timeout(10):
            while self.shadow.waiting:
                await asyncio.sleep(0.002)

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.recorder.events if isinstance(event, kind)]


@pytest.fixture
async def setting() -> AsyncIterator[Callable[..., Setting]]:
    """Makes one of candidates; `spare[0]` says whether there is nothing else to do."""
    made: list[Setting] = []

    def make(*candidates: Policy, scores: Any = None, judge: Judge | None = None, kept: Any = None) -> Setting:
        screen = FixedScreen(scores if scores is not None else {"hate": 0.85, "violence": 0.95})
        recorder, cache, spare = Recorder(), MemoryCache(entries=1_000, ttl=60), [True]
        common = {"cache": cache, "secret": b"a secret for the tests"}
        apart = Moderator(
            screen=LeisurelyScreen(screen, lambda: spare[0]),
            judge=LeisurelyJudge(judge, lambda: spare[0]) if judge is not None else None,
            listener=Listeners(),
            **common,
        )
        shadow = Shadow(lambda name: candidates if name == "live" else (), apart, recorder, kept)
        moderator = Moderator(screen=screen, judge=judge, listener=recorder, onlooker=shadow, **common)
        made.append(Setting(moderator, shadow, recorder, screen, spare))
        return made[-1]

    yield make
    for one in made:
        await one.moderator.close()


async def test_other_thresholds_are_decided_from_the_same_scores(setting):
    """Nothing is read again; each candidate is compared, and what flips is named with its scores."""
    own = setting(HARDER, MILDER)
    token = REQUEST_ID.set("the-request")
    await own.ask("a text")
    REQUEST_ID.reset(token)
    assert own.screen.texts == ["a text"]
    harder, milder = own.told(ShadowDone)
    assert (harder.policy, harder.candidate, harder.before, harder.after) == ("live", "harder", "review", "block")
    assert (harder.outcome, milder.outcome, milder.after) == ("harder", "milder", "allow")
    assert harder.flips == (CategoryFlip("hate", "review", "block", 0.85, 0.85),)
    assert (harder.flips[0].direction, milder.flips[0].direction) == ("harder", "milder")
    assert (harder.request_id, harder.number, harder.rail) == ("the-request", 0, "input")
    assert (harder.fingerprint, harder.candidate_fingerprint) == (LIVE.fingerprint, HARDER.fingerprint)


async def test_other_definitions_are_read_anew_and_count_as_nobodys_verdicts(setting):
    """A category that only the candidate has flips from allow; the verdict is in no other figure."""
    own = setting(OTHER)
    await own.ask("a text")
    (done,) = own.told(ShadowDone)
    assert own.screen.texts == ["a text", "a text"]
    assert (done.before, done.after) == ("review", "block")
    assert done.flips == (CategoryFlip("violence", "allow", "block", None, 0.95),)
    assert [event.policy for event in own.told(ModerationDone)] == ["live"]


async def test_what_a_candidate_read_it_remembers(setting):
    """The second time the same text costs a look into the cache."""
    own = setting(OTHER)
    await own.ask("a text")
    await own.ask("a text")
    assert len(own.told(ShadowDone)) == 2
    assert own.screen.texts == ["a text", "a text"]


async def test_a_candidates_judge_is_asked_and_counted(setting):
    """Where only thresholds differ it is not asked again."""
    judge = ScriptedJudge({"hate": 0.95, "violence": 0.1})
    own = setting(HARDER, OTHER, scores={"hate": 0.5, "violence": 0.5}, judge=judge)
    await own.ask("a text")
    by_name = {done.candidate: done for done in own.told(ShadowDone)}
    assert [inquiry.categories for inquiry in judge.asked] == [("hate",), ("hate", "violence")]
    assert (by_name["harder"].judged, by_name["other"].judged) == (0, 2)
    assert by_name["other"].judge_tokens == 10


async def test_each_text_of_a_call_is_compared(setting):
    own = setting(HARDER, scores=lambda text: {"hate": len(text) / 10})
    await own.ask("x" * 3, "x" * 8, "x" * 10)
    assert [(done.number, done.outcome) for done in own.told(ShadowDone)] == [(0, "same"), (1, "harder"), (2, "same")]


async def test_a_text_that_is_still_being_written_is_not_compared(setting):
    own = setting(HARDER)
    await own.ask("a text", remember=False)
    assert own.told(ShadowDone) == []
    await own.moderator.moderate([Content.of("a text", rail=Rail.OUTPUT)], LIVE)
    await own.quiet()
    assert [done.rail for done in own.told(ShadowDone)] == ["output"]


async def test_the_answer_does_not_wait(setting):
    """Neither for the same scores nor for a screen that others need."""
    own = setting(HARDER, OTHER)
    own.spare[0] = False
    async with asyncio.timeout(5):
        await own.moderator.moderate([Content.of("a text")], LIVE)
    assert own.told(ShadowDone) == []
    await asyncio.sleep(0.1)
    assert own.screen.texts == ["a text"]
    assert [done.candidate for done in own.told(ShadowDone)] == ["harder"]
    own.spare[0] = True
    await own.quiet()
    assert [done.candidate for done in own.told(ShadowDone)] == ["harder", "other"]


async def test_what_does_not_fit_is_dropped_and_counted(setting, monkeypatch):
    """Texts and their characters are bounded; so is what a text may cost that is read again."""
    monkeypatch.setattr(module, "MOST_TEXTS", 3)
    own = setting(OTHER)
    own.spare[0] = False
    await own.moderator.moderate([Content.of(f"text {number}") for number in range(5)], LIVE)
    assert own.shadow.waiting == 3
    assert [event.reason for event in own.told(ShadowDropped)] == ["busy", "busy"]
    own.spare[0] = True
    await own.quiet()
    assert len(own.told(ShadowDone)) == 3
    monkeypatch.setattr(module, "MOST_CHARACTERS", 10)
    await own.ask("more than ten characters")
    await own.ask("x" * (module.LONG + 1))
    assert [event.reason for event in own.told(ShadowDropped)][2:] == ["busy", "long"]
    assert own.shadow.waiting == 0


async def test_a_long_text_is_decided_again_all_the_same(setting):
    """That costs no more than a short one."""
    own = setting(HARDER)
    await own.ask("x" * (module.LONG + 1))
    assert len(own.told(ShadowDone)) == 1


async def test_a_failed_stage_is_no_flip(setting):
    """On either side."""
    own = setting(HARDER, OTHER, scores={"hate": 0.5, "violence": 0.5}, judge=ScriptedJudge({}, fail="away"))
    await own.ask("a text")
    assert [event.reason for event in own.told(ShadowDropped)] == ["degraded", "degraded"]
    own = setting(OTHER, scores={"hate": 0.1, "violence": 0.5}, judge=ScriptedJudge({}, fail="away"))
    await own.ask("a text")
    assert [event.reason for event in own.told(ShadowDropped)] == ["degraded"]
    assert own.told(ShadowDone) == []


async def test_categories_that_the_candidate_does_not_check_are_no_flip(setting):
    without = a_policy(("violence",), name="without")
    own = setting(without)
    await own.ask("a text", only=frozenset({"hate"}))
    assert [event.reason for event in own.told(ShadowDropped)] == ["categories"]


@pytest.mark.parametrize(
    ("error", "reason", "kind"),
    [(Overloaded("full"), "busy", ""), (RuntimeError(CANARY), "failed", "RuntimeError")],
)
async def test_a_fault_ends_with_its_text(setting, error, reason, kind):
    """The next one is compared; of the error the kind is told, for its words may be the text's."""
    own = setting(OTHER)
    faults: list[Exception] = []
    assess = own.screen.assess

    async def broken(*given: Any, **more: Any) -> Any:
        if faults and own.screen.texts:
            raise faults.pop()
        return await assess(*given, **more)

    own.screen.assess = broken
    faults.append(error)
    await own.ask("one")
    await own.ask("two")
    assert [(event.reason, event.error) for event in own.told(ShadowDropped)] == [(reason, kind)]
    assert len(own.told(ShadowDone)) == 1


async def test_tenants_share_nothing_in_a_shadow_either(setting):
    own = setting(OTHER)
    for tenant in ("shop", "forum"):
        await own.ask("a text", tenant=tenant)
    assert own.screen.texts == ["a text"] * 4


async def test_nothing_that_is_told_holds_the_text(setting):
    own = setting(HARDER, OTHER)
    await own.ask(CANARY)
    assert len(own.told(ShadowDone)) == 2
    assert CANARY not in repr(own.recorder.events)


class Flips(list[Any]):
    """What a recorder would be told."""

    def flipped(self, *given: Any, **more: Any) -> None:
        self.append((*given, more))


async def test_what_differs_is_recorded_beside_the_record_of_the_verdict(setting):
    """From the same scores and from its own; what is the same is not, nor what a call without records flips."""
    flips = Flips()
    own = setting(HARDER, OTHER, scores=lambda text: {"hate": len(text) / 10, "violence": 0.95}, kept=flips)
    await own.ask("x" * 8)
    assert len(own.told(ShadowDone)) == 2
    assert flips == []
    call = store.Call("mod_1", "moderate", "shop", "web", LIVE, store.Keeping("flagged", texts=False))
    token = store.CALL.set(call)
    await own.ask("x", "x" * 8, tenant="shop")
    store.CALL.reset(token)
    by_id = {(given[3].record, given[1].name): given for given in flips}
    assert set(by_id) == {("mod_1-0", "other"), ("mod_1-1", "harder"), ("mod_1-1", "other")}
    policy, candidate, finding, beside, more = by_id["mod_1-1", "harder"]
    assert (policy, candidate, more) == (LIVE, HARDER, {"tenant": "shop", "key": "web"})
    flip = CategoryFlip("hate", "review", "block", 0.8, 0.8)
    assert beside == Beside("mod_1-1", "live", LIVE.fingerprint, "review", (flip,))
    assert (finding.verdict.action, finding.assessment.scores["hate"].value) == ("block", 0.8)
    assert set(by_id["mod_1-0", "other"][2].assessment.scores) == {"hate", "violence"}


async def test_closing_ends_the_work_that_waits(setting):
    """What is left is forgotten."""
    own = setting(HARDER, OTHER)
    own.spare[0] = False
    await own.moderator.moderate([Content.of("a text")], LIVE)
    await own.moderator.close()
    await asyncio.sleep(0.05)
    assert own.told(ShadowDone) == []


async def test_a_judge_that_others_need_is_asked_later():
    """And then answers as it does for anybody."""
    judge, spare = ScriptedJudge({"hate": 0.7}), [False]
    leisurely = LeisurelyJudge(judge, lambda: spare[0])
    asking = asyncio.create_task(Moderator(
        screen=FixedScreen({"hate": 0.5}), judge=leisurely, cache=MemoryCache(entries=0, ttl=60), secret=b"s" * 16,
        listener=Listeners(),
    ).moderate([Content.of("a text")], LIVE, patient=True))  # fmt: skip
    await asyncio.sleep(0.1)
    assert judge.asked == []
    spare[0] = True
    (verdict,) = (await asking).verdicts
    assert (verdict.categories["hate"].score, verdict.action) == (0.7, "review")

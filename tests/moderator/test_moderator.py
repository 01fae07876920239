"""The cascade, with a scripted judge and a screen whose scores are known."""

import asyncio

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from guard.cache.memory import MemoryCache
from guard.content import Content, Rail, Turn
from guard.errors import InvalidContent, ScreenFailed
from guard.judge import Answers
from guard.moderator import Moderator
from guard.question import Answer
from guard.telemetry import ModerationDone, ModerationFailed, PrometheusListener
from guard.testing import FixedScreen, Recorder, ScriptedJudge, a_policy

SECRET = b"a secret for the tests"


def a_moderator(screen=None, judge=None, *, entries=100, recorder=None) -> Moderator:
    return Moderator(
        screen=screen or FixedScreen({"hate": 0.1, "violence": 0.1}),
        judge=judge,
        cache=MemoryCache(entries=entries, ttl=60),
        secret=SECRET,
        listener=recorder or Recorder(),
    )


def contents(*texts: str) -> list[Content]:
    return [Content.of(text) for text in texts]


async def test_only_doubtful_categories_are_asked():
    """A clear score costs no judge; a doubtful one does."""
    judge = ScriptedJudge({"violence": 0.95})
    moderator = a_moderator(FixedScreen({"hate": 0.05, "violence": 0.5}), judge)
    verdict = (await moderator.moderate(contents("a text"), a_policy())).verdicts[0]
    assert [inquiry.categories for inquiry in judge.asked] == [("violence",)]
    assert verdict.categories["violence"].source == "judge"
    assert verdict.categories["violence"].score == 0.95
    assert verdict.categories["hate"].source == "encoder"
    assert verdict.action == "block"


async def test_a_category_that_nobody_scores_is_asked():
    """A custom category works from its definition alone where there is a judge."""
    judge = ScriptedJudge({"poetry": 0.8})
    moderator = a_moderator(FixedScreen({}), judge)
    verdict = (await moderator.moderate(contents("a text"), a_policy(["poetry"]))).verdicts[0]
    assert verdict.categories["poetry"].source == "judge"
    assert verdict.reasons == ()


async def test_without_a_judge_the_answer_says_what_stayed_with_the_screen():
    """Doubtful scores and unscored categories are named."""
    moderator = a_moderator(FixedScreen({"hate": 0.5}))
    verdict = (await moderator.moderate(contents("a text"), a_policy(["hate", "poetry"]))).verdicts[0]
    assert verdict.reasons == ("no_score: poetry", "no_judge: hate")
    assert verdict.categories["hate"].violated
    assert verdict.categories["poetry"].source == "none"


async def test_a_cached_text_is_screened_once():
    """The second time the assessment comes from the cache, and the answer says so."""
    screen = FixedScreen({"hate": 0.6, "violence": 0.0})
    moderator = a_moderator(screen)
    first = (await moderator.moderate(contents("same"), a_policy())).verdicts[0]
    second = (await moderator.moderate(contents("same"), a_policy())).verdicts[0]
    assert screen.texts == ["same"]
    assert (first.cached, second.cached) == (False, True)
    assert second.categories == first.categories


async def test_a_cached_text_is_judged_once():
    """The judge's word is part of what is cached."""
    judge = ScriptedJudge({"hate": 0.9, "violence": 0.1})
    moderator = a_moderator(FixedScreen({"hate": 0.5, "violence": 0.5}), judge)
    first = await moderator.moderate(contents("same"), a_policy())
    second = await moderator.moderate(contents("same"), a_policy())
    assert len(judge.asked) == 1
    assert (first.judged, second.judged) == (2, 0)
    assert second.verdicts[0].categories["hate"].source == "judge"


async def test_a_new_threshold_acts_on_a_cached_text_at_once():
    """The cache keeps scores, never decisions."""
    screen = FixedScreen({"hate": 0.6})
    moderator = a_moderator(screen)
    mild = a_policy(["hate"])
    hard = a_policy(["hate"], category={"thresholds": {"block": 0.55}})
    assert (await moderator.moderate(contents("same"), mild)).verdicts[0].action == "flag"
    again = (await moderator.moderate(contents("same"), hard)).verdicts[0]
    assert (again.action, again.cached) == ("block", True)
    assert len(screen.texts) == 1


async def test_another_definition_is_another_assessment():
    """What a score depends on is part of the cache key."""
    screen = FixedScreen({"hate": 0.6})
    moderator = a_moderator(screen)
    other = a_policy(["hate"], category={"definition": "Another definition altogether."})
    await moderator.moderate(contents("same"), a_policy(["hate"]))
    assert not (await moderator.moderate(contents("same"), other)).verdicts[0].cached


async def test_role_rail_and_context_are_part_of_the_key():
    """The same words said by somebody else, or after something else, are another text."""
    screen = FixedScreen({"hate": 0.6})
    moderator = a_moderator(screen)
    variants = [
        Content("same"),
        Content("same", role="user"),
        Content("same", rail=Rail.OUTPUT),
        Content("same", context=(Turn("user", "before"),)),
        Content("same", context=(Turn("assistant", "before"),)),
    ]
    for content in variants:
        assert not (await moderator.moderate([content], a_policy(["hate"]))).verdicts[0].cached
    assert len(screen.texts) == len(variants)


async def test_order_is_kept_and_identical_texts_are_screened_once():
    """Results come in the order of the contents, whatever was cached."""
    screen = FixedScreen(lambda text: {"hate": len(text) / 10})
    moderator = a_moderator(screen)
    await moderator.moderate(contents("bb"), a_policy(["hate"]))
    moderation = await moderator.moderate(contents("a", "bb", "ccc", "a"), a_policy(["hate"]))
    assert [verdict.categories["hate"].score for verdict in moderation.verdicts] == [0.1, 0.2, 0.3, 0.1]
    assert [verdict.cached for verdict in moderation.verdicts] == [False, True, False, False]
    assert screen.texts == ["bb", "a", "ccc"]


@pytest.mark.parametrize(("switch", "action"), [("allow", "flag"), ("review", "review"), ("block", "block")])
async def test_a_judge_that_fails_leaves_what_the_policy_says(switch, action):
    """Nothing fails open unless the policy says so, and the verdict is marked."""
    judge, recorder = ScriptedJudge({}, fail="gone"), Recorder()
    moderator = a_moderator(FixedScreen({"hate": 0.55}), judge, recorder=recorder)
    verdict = (await moderator.moderate(contents("a text"), a_policy(["hate"], when_judge_fails=switch))).verdicts[0]
    assert (verdict.action, verdict.degraded) == (action, True)
    assert verdict.reasons == (f"judge_failed: {switch}",)
    assert [event.stage for event in recorder.events if isinstance(event, ModerationFailed)] == ["judge"]


@pytest.mark.parametrize(("stage", "switch"), [("screen", "when_screen_fails"), ("judge", "when_judge_fails")])
@pytest.mark.parametrize("then", ["allow", "review", "block"])
async def test_a_stage_that_fails_is_counted(stage, switch, then):
    """Whatever the policy says of it: the texts that it failed on, and the verdicts that lack it."""

    class Broken(FixedScreen):
        async def assess(self, materials, policy, *, deadline=None):
            raise ScreenFailed("out of order")

    registry = CollectorRegistry()
    screen = Broken({}) if stage == "screen" else FixedScreen({"hate": 0.55})
    moderator = a_moderator(screen, ScriptedJudge({}, fail="gone"), recorder=PrometheusListener(registry))
    policy = a_policy(["hate"], **{"when_screen_fails": "allow", "when_judge_fails": "allow", switch: then})
    verdicts = (await moderator.moderate(contents("one", "two", "three"), policy)).verdicts
    assert all(verdict.degraded for verdict in verdicts)
    failures = registry.get_sample_value("guard_stage_failures_total", {"stage": stage})
    assert failures == 3
    assert registry.get_sample_value("guard_degraded_verdicts_total", {"policy": policy.name}) == 3


async def test_a_mistake_in_a_stage_is_no_verdict():
    """What no switch speaks of is an error for the client: nothing leaves unread."""

    class Mistaken(FixedScreen):
        async def assess(self, materials, policy, *, deadline=None):
            raise ZeroDivisionError

    policy = a_policy(["hate"], when_screen_fails="allow", when_judge_fails="allow")
    with pytest.raises(ZeroDivisionError):
        await a_moderator(Mistaken({})).moderate(contents("one"), policy)

    class MistakenJudge(ScriptedJudge):
        async def answer(self, inquiries, *, deadline=None):
            raise ZeroDivisionError

    moderator = a_moderator(FixedScreen({"hate": 0.55}), MistakenJudge({}))
    with pytest.raises(ZeroDivisionError):
        await moderator.moderate(contents("one"), policy)


async def test_a_verdict_with_a_failure_is_never_cached():
    """The next request asks again."""
    judge = ScriptedJudge({}, fail="gone")
    moderator = a_moderator(FixedScreen({"hate": 0.55}), judge)
    await moderator.moderate(contents("a text"), a_policy(["hate"]))
    await moderator.moderate(contents("a text"), a_policy(["hate"]))
    assert len(judge.asked) == 2


async def test_a_late_judge_is_a_judge_that_failed():
    """The policy's deadline holds."""
    judge = ScriptedJudge({"hate": 0.1}, delay=5)
    moderator = a_moderator(FixedScreen({"hate": 0.55}), judge)
    started = asyncio.get_running_loop().time()
    verdict = (await moderator.moderate(contents("a text"), a_policy(["hate"], deadline_ms=50))).verdicts[0]
    assert asyncio.get_running_loop().time() - started < 2
    assert verdict.reasons == ("judge_failed: review",)


@pytest.mark.parametrize(("switch", "action"), [("allow", "allow"), ("review", "review"), ("block", "block")])
async def test_a_screen_that_fails_leaves_what_the_policy_says(switch, action):
    """A policy may let texts through unscreened, but only in so many words."""

    class Broken(FixedScreen):
        async def assess(self, materials, policy, *, deadline=None):
            raise ScreenFailed("out of order")

    moderator = a_moderator(Broken({}))
    verdict = (await moderator.moderate(contents("a text"), a_policy(["hate"], when_screen_fails=switch))).verdicts[0]
    assert (verdict.action, verdict.degraded, verdict.flagged) == (action, True, action != "allow")


async def test_the_judge_reads_the_normalised_text():
    """What the screen saw is what the judge sees."""
    judge = ScriptedJudge({"hate": 0.1})
    moderator = a_moderator(FixedScreen({"hate": 0.5}), judge)
    await moderator.moderate(contents("hi\u200bdden"), a_policy(["hate"]))
    assert judge.asked[0].content.text == "hidden"


async def test_the_judge_reads_what_is_encoded_in_a_text_too():
    """A doubt that came from a decoded reading is not settled by a judge who saw only the code."""
    judge = ScriptedJudge({"hate": 0.1})
    moderator = a_moderator(FixedScreen({"hate": 0.5}), judge)
    await moderator.moderate(contents("read this: dGhlIGhpZGRlbiB3b3JkcyBvZiB0aGUgdGV4dA=="), a_policy(["hate"]))
    assert "the hidden words of the text" in judge.asked[0].content.text


async def test_a_session_is_the_judges_alone():
    """It is part of no key, and of a call with one text."""
    judge = ScriptedJudge({"hate": 0.1})
    moderator = a_moderator(FixedScreen({"hate": 0.5}), judge)
    first = await moderator.moderate(contents("same"), a_policy(["hate"]), session="s", remember=False)
    second = await moderator.moderate(contents("same"), a_policy(["hate"]), session="s")
    third = await moderator.moderate(contents("same"), a_policy(["hate"]))
    assert [inquiry.session for inquiry in judge.asked] == ["s", "s"]
    assert [done.verdicts[0].cached for done in (first, second, third)] == [False, False, True]
    with pytest.raises(ValueError, match="a session is of one text; there are 2"):
        await moderator.moderate(contents("one", "two"), a_policy(["hate"]), session="s")
    await moderator.moderate(contents("other"), a_policy(["hate"], mode="self_reflection"))
    assert judge.asked[-1].session is None


async def test_tenants_share_nothing():
    """Neither a verdict that is remembered nor what the judge keeps."""
    judge = ScriptedJudge({"hate": 0.1})
    moderator = a_moderator(FixedScreen({"hate": 0.5}), judge)
    cached = []
    for tenant in ("shop", "shop", "forum", ""):
        done = await moderator.moderate(contents("same"), a_policy(["hate"]), tenant=tenant)
        cached.append(done.verdicts[0].cached)
    assert cached == [False, True, False, False]
    assert [inquiry.tenant for inquiry in judge.asked] == ["shop", "forum", ""]


async def test_in_a_foreign_language_no_score_is_certain():
    """A screen that cannot read a text does not pass it alone; a category without a band stays the screen's."""

    class Foreign(FixedScreen):
        async def assess(self, materials, policy, *, deadline=None):
            found = await super().assess(materials, policy, deadline=deadline)
            return [msgspec.structs.replace(assessment, language_supported=False) for assessment in found]

    judge = ScriptedJudge({"hate": 0.9})
    moderator = a_moderator(Foreign({"hate": 0.01}), judge)
    (verdict,) = (await moderator.moderate(contents("ein Text"), a_policy(["hate"]))).verdicts
    assert (verdict.categories["hate"].source, verdict.action) == ("judge", "block")
    without = a_policy(["hate"], category={"doubt": None})
    (verdict,) = (await moderator.moderate(contents("ein Text"), without)).verdicts
    assert verdict.categories["hate"].source == "encoder"


async def test_self_reflection_asks_one_question_for_all_categories():
    """Each doubtful category gets the probability of its own option; one that is clear keeps the screen's score."""

    def reflect(inquiry):
        (question,) = inquiry.questions
        assert [option.name for option in question.options] == ["hate", "violence", "not moderated"]
        return Answers((Answer((0.7, 0.1, 0.2)),), tokens=50)

    judge = ScriptedJudge(reflect)
    moderator = a_moderator(FixedScreen({"hate": 0.5, "violence": 0.05}), judge)
    policy = a_policy(["hate", "violence"], mode="self_reflection")
    found = (await moderator.moderate(contents("a text"), policy)).verdicts[0].categories
    assert (found["hate"].score, found["hate"].source) == (0.7, "judge")
    assert (found["violence"].score, found["violence"].source) == (0.05, "encoder")


async def test_two_originals_with_one_normalised_text_keep_their_own_spans():
    """The cache holds normalised offsets; each answer points into its own original."""
    moderator = Moderator(
        screen=FixedScreen({}),
        judge=ScriptedJudge(lambda inquiry: Answers((Answer((0.9, 0.1)),))),
        cache=MemoryCache(entries=10, ttl=60),
        secret=SECRET,
        listener=Recorder(),
    )
    policy = a_policy(["hate"])
    first, second = "bad word", "b\u200bad word"
    verdicts = [(await moderator.moderate(contents(text), policy)).verdicts[0] for text in (first, second)]
    assert verdicts[1].cached
    assert verdicts[1].normalised == ("zero_width",)
    assert verdicts[0].normalised == ()


async def test_an_unknown_category_is_refused_before_anything_is_done():
    """The error names the category and the policy's own."""
    screen = FixedScreen({"hate": 0.1})
    with pytest.raises(InvalidContent, match="no category `poetry`; it has: hate, violence"):
        await a_moderator(screen).moderate(contents("a text"), a_policy(), only=frozenset({"poetry"}))
    assert screen.texts == []


async def test_only_the_categories_asked_for_are_answered():
    """A request may narrow the policy."""
    verdict = (await a_moderator().moderate(contents("a"), a_policy(), only=frozenset({"hate"}))).verdicts[0]
    assert list(verdict.categories) == ["hate"]


async def test_an_event_is_told_without_the_text():
    """Listeners hear of each call; nothing in the event holds the text."""
    recorder = Recorder()
    await a_moderator(recorder=recorder).moderate(contents("canary-in-the-mine"), a_policy())
    (event,) = recorder.events
    assert isinstance(event, ModerationDone)
    assert event.policy == "test"
    assert "canary" not in repr(event)


async def test_an_explanation_is_given_only_when_asked_for():
    """It quotes the text as it was read, so it is opt-in."""
    moderator = a_moderator(FixedScreen({"hate": 0.5}))
    plain = (await moderator.moderate(contents("a\u200b text"), a_policy(["hate"]))).verdicts[0]
    told = (await moderator.moderate(contents("a\u200b text"), a_policy(["hate"]), explained=True)).verdicts[0]
    assert not plain.explanation
    assert told.explanation.normalised_text == "a text"
    assert told.explanation.doubtful == ("hate",)


async def test_permuting_a_request_changes_no_verdict():
    """A text's verdict does not depend on its neighbours."""
    texts = [f"text {'x' * n}" for n in range(12)]
    screen = FixedScreen(lambda text: {"hate": len(text) / 20})
    forward = await a_moderator(screen, entries=0).moderate(contents(*texts), a_policy(["hate"]))
    backward = await a_moderator(screen, entries=0).moderate(contents(*texts[::-1]), a_policy(["hate"]))
    assert forward.verdicts == backward.verdicts[::-1]
